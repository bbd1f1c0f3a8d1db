package webhookapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/scanner"

	"github.com/PaesslerAG/gval"
	"github.com/PaesslerAG/jsonpath"

	"github.com/keyferry/keyferry/secret"
)

const pathField = "result.jsonPath"

// maxPath bounds the text of a path.
const maxPath = 4 << 10

// indexes matches where a value was found, if only array positions led there.
var indexes = regexp.MustCompile(`^\$(\["[0-9]+"\])*$`)

// extract returns what path selects in a JSON body. Scalars keep their text, an
// object is JSON, and of an array it is the first element, because a filter always
// yields an array. It fails with Invalid if body is no JSON or nothing is selected;
// NotFound in the latter case if a property was asked for.
func (s Settings) extract(ctx context.Context, path string, body []byte, property bool) (secret.Value, error) {
	doc, err := s.decode(body)
	if err != nil {
		return secret.Value{}, err
	}
	eval, err := s.compile(path)
	if err != nil {
		return secret.Value{}, err
	}
	found, err := evaluate(ctx, eval, doc)
	if err == nil {
		if err := s.unambiguous(ctx, path, doc, found); err != nil {
			return secret.Value{}, err
		}
		found, err = first(found)
	}
	if err != nil && property {
		return secret.Value{}, &secret.Error{Kind: secret.NotFound, Err: errors.New("the answer has nothing where " + s.Root + pathField + " looks for the property")}
	}
	if err != nil {
		return secret.Value{}, s.Invalid(pathField, "selects nothing in the answer")
	}
	return s.text(found)
}

// decode keeps the exact text of numbers that a float64 would change.
func (s Settings) decode(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var doc any
	err := d.Decode(&doc)
	if err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) || len(bytes.TrimSpace(body)) == 0 {
		return nil, s.Invalid(pathField, "is set, and the answer is not JSON")
	}
	return floats(doc), nil
}

// floats turns numbers into float64, which is what filters compare, where that
// loses nothing of their text.
func floats(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			v[k] = floats(member)
		}
	case []any:
		for i, element := range v {
			v[i] = floats(element)
		}
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v
		}
		if b, err := json.Marshal(f); err == nil && string(b) == v.String() {
			return f
		}
	}
	return v
}

// compile leaves the path out of its errors: a template may have put a value there.
func (s Settings) compile(path string) (gval.Evaluable, error) {
	if !affordable(path) {
		return nil, s.Invalid(pathField, "searches too much: at most two '..', and none, nor a wildcard or filter, inside brackets")
	}
	eval, err := jsonpath.New(path)
	if err != nil {
		return nil, s.Invalid(pathField, "is not a JSON path")
	}
	return eval, nil
}

// affordable refuses paths whose cost is more than about linear in the answer: whoever
// writes the store also chooses the answer, and an evaluation cannot be ended.
func affordable(path string) bool {
	var tokens scanner.Scanner
	tokens.Init(strings.NewReader(path))
	tokens.Error = func(*scanner.Scanner, string) {} // what is no path is found later
	depth, descents := 0, 0
	previous := tokens.Scan()
	for tok := tokens.Scan(); tok != scanner.EOF; previous, tok = tok, tokens.Scan() {
		if opens(previous) {
			depth++
		}
		if closes(previous) {
			depth--
		}
		pair := string([]rune{previous, tok})
		if pair == ".." {
			descents++
		}
		if depth > allowedDepth(pair) {
			return false
		}
	}
	return descents <= 2 && len(path) <= maxPath
}

// allowedDepth is how many brackets may be open around what two tokens begin.
func allowedDepth(pair string) int {
	switch pair {
	case "..", ".*":
		return 0
	case "[?", "[*", "[:":
		return 1
	}
	return maxPath
}

func opens(tok rune) bool  { return tok == '[' || tok == '(' }
func closes(tok rune) bool { return tok == ']' || tok == ')' }

// evaluate turns a panic of the library into an error: path and answer come from
// outside.
func evaluate(ctx context.Context, eval gval.Evaluable, doc any) (found any, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the path cannot be evaluated")
		}
	}()
	return eval(ctx, doc)
}

// unambiguous fails if several values were found in an order that is not the
// answer's: the members of an object have none, so another one would come first each time.
func (s Settings) unambiguous(ctx context.Context, path string, doc, found any) error {
	list, ok := found.([]any)
	if !ok || !slices.ContainsFunc(list, func(v any) bool { return !reflect.DeepEqual(v, list[0]) }) {
		return nil
	}
	for _, place := range places(ctx, path, doc) {
		if !indexes.MatchString(place) {
			return s.Invalid(pathField, "selects several members of an object, which have no order; make it select one")
		}
	}
	return nil
}

// places returns where in doc path finds values, less what the path says itself;
// none if it is an expression whose result is one array.
func places(ctx context.Context, path string, doc any) []string {
	eval, err := jsonpath.PlaceholderExtension().NewEvaluable("{#: " + path + "}")
	if err != nil {
		return nil
	}
	found, _ := evaluate(ctx, eval, doc)
	byPlace, _ := found.(map[string]any)
	return secret.Keys(byPlace)
}

func first(v any) (any, error) {
	for {
		list, ok := v.([]any)
		if !ok {
			return v, nil
		}
		if len(list) == 0 {
			return nil, errors.New("an empty array")
		}
		v = list[0]
	}
}

func (s Settings) text(v any) (secret.Value, error) {
	switch v := v.(type) {
	case nil:
		return secret.Value{}, nil
	case string:
		return secret.FromString(v), nil
	case json.Number:
		return secret.FromString(v.String()), nil
	case bool:
		return secret.FromString(strconv.FormatBool(v)), nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return secret.Value{}, s.Invalid(pathField, "selects what has no JSON form")
	}
	return secret.New(b), nil
}
