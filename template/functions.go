package template

import (
	"maps"
	"strings"

	"github.com/Masterminds/sprig/v3"
)

// group is a part of the allow-list, as the guide shows it.
type group struct{ title, names string }

// allowed is the allow-list: what is not in it does not exist for a template,
// whatever the libraries offer.
func allowed() []group {
	return []group{
		{"Go templates", "and call eq ge gt html index js le len lt ne not or print printf println urlquery"},
		{"Text", "abbrev abbrevboth camelcase cat contains hasPrefix hasSuffix hello indent initials kebabcase lower nindent " +
			"nospace plural quote repeat replace shuffle snakecase split splitList splitn squote substr swapcase title toString " +
			"toStrings trim trimAll trimPrefix trimSuffix trimall trunc untitle upper wrap wrapWith"},
		{"Regular expressions", "mustRegexFind mustRegexFindAll mustRegexMatch mustRegexReplaceAll mustRegexReplaceAllLiteral " +
			"mustRegexSplit regexFind regexFindAll regexMatch regexQuoteMeta regexReplaceAll regexReplaceAllLiteral regexSplit"},
		{"Encoding", "b32dec b32enc b64dec b64enc fromJson fromYaml hexdec mustFromJson mustToJson mustToPrettyJson " +
			"mustToRawJson toJson toPrettyJson toRawJson toYaml urlJoin urlParse"},
		{"Numbers", "add add1 add1f addf atoi biggest ceil div divf float64 floor int int64 max maxf min minf mod mul mulf " +
			"randInt round seq sub subf toDecimal until untilStep"},
		{"Lists", "append chunk compact concat first has initial join last list mustAppend mustChunk mustCompact mustFirst " +
			"mustHas mustInitial mustLast mustPrepend mustPush mustRest mustReverse mustSlice mustUniq mustWithout prepend push " +
			"rest reverse slice sortAlpha tuple uniq without"},
		{"Maps", "deepCopy dict dig get hasKey keys merge mergeOverwrite mustDeepCopy mustMerge mustMergeOverwrite omit pick " +
			"pluck set unset values"},
		{"Logic and types", "all any coalesce deepEqual default empty fail kindIs kindOf ternary typeIs typeIsLike typeOf"},
		{"Dates", "ago date dateInZone dateModify date_in_zone date_modify duration durationRound htmlDate htmlDateInZone " +
			"mustDateModify mustToDate must_date_modify now toDate unixEpoch"},
		{"Paths and versions", "base clean dir ext isAbs osBase osClean osDir osExt osIsAbs semver semverCompare"},
		{"Hashes, passwords and random", "adler32sum bcrypt decryptAES derivePassword encryptAES htpasswd randAlpha " +
			"randAlphaNum randAscii randBytes randNumeric rsaDecrypt sha1sum sha256sum sha512sum uuidv4"},
		{"Keys and certificates", "buildCustomCert certSANs filterCertChain filterPEM fullPemToPkcs12 fullPemToPkcs12Pass genCA " +
			"genCAWithKey genPrivateKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey " +
			"jwkPrivateKeyPem jwkPublicKeyPem pemToPkcs12 pemToPkcs12Pass pemTruststoreToPKCS12 pemTruststoreToPKCS12Pass " +
			"pkcs12cert pkcs12certPass pkcs12key pkcs12keyPass"},
	}
}

// functions returns the allow-list with what runs under each name: ours where
// there is one, else sprig's.
func functions() map[string]function {
	library := sprig.GenericFuncMap()
	own := merged(
		textFunctions(library), numberFunctions(library), listFunctions(library), mapFunctions(library), encodingFunctions(library),
		regexFunctions(library), dateFunctions(library), cryptoFunctions(library), certFunctions(library), pkcsFunctions(),
	)
	out := map[string]function{}
	for i, g := range allowed() {
		for name := range strings.FieldsSeq(g.names) {
			f, ok := own[name]
			if !ok && i > 0 { // the operators of text/template run as they are
				f.fn = library[name]
			}
			if f.why == "" {
				f.why = "the arguments do not fit"
			}
			out[name] = f
		}
	}
	return out
}

// checked gives several functions the same check and reason.
func checked(library map[string]any, names string, f function) map[string]function {
	out := map[string]function{}
	for name := range strings.FieldsSeq(names) {
		f.fn = library[name]
		out[name] = f
	}
	return out
}

func merged(tables ...map[string]function) map[string]function {
	out := map[string]function{}
	for _, t := range tables {
		maps.Copy(out, t)
	}
	return out
}

// arg returns an argument of the type that the signature of the function
// promises, or the zero value.
func arg[T any](args []any, i int) T {
	var zero T
	if i >= len(args) {
		return zero
	}
	v, ok := args[i].(T)
	if !ok {
		return zero
	}
	return v
}
