package local

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

func hardValues() map[string]string {
	return map[string]string{
		"empty": "", "plain": "abc-1_2./:@%+,=", "space": " a b ", "hash": "#a #b", "dollar": "$HOME ${A} $(id)",
		"single": "it's", "double": `say "x"`, "both": `it's "x" $5 \ ` + "`id`", "backslash": `a\nb\\`, "lines": "a\nb\n\nc\n",
		"pem": "-----BEGIN X-----\nabc=\n-----END X-----\n", "tab": "a\tb", "bang": "a!b", "unicode": "žluťoučký 🔑", "cr": "a\r\nb",
		"quotes": `''""'"`, "tilde": "~/x", "glob": "*?[a]", "semi": "a;b&c|d", "latin1": "\xff\xfe",
	}
}

func TestDotenvIsReadBackByAShell(t *testing.T) {
	data := map[string][]byte{}
	for k, v := range hardValues() {
		data["V_"+k] = []byte(v)
	}
	text, err := dotenv(data)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range data {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `eval "$1"; eval "printf %s \"\$$2\""`, "sh", string(text), k)
		got, err := cmd.Output()
		if err != nil || string(got) != string(v) {
			t.Errorf("%s: %v: (-want +got):\n%s", k, err, cmp.Diff(string(v), string(got)))
		}
	}
	back, err := parseDotenv(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(data, back); diff != "" {
		t.Errorf("read back here (-want +got):\n%s", diff)
	}
}

func TestDotenvOfOthersIsRead(t *testing.T) {
	got, err := parseDotenv([]byte("# c\n\nexport A=1 # c\r\nB='x'\"y\"z\nC=\n  D=\"a\\\"b\"  \n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"A": []byte("1"), "B": []byte("xyz"), "C": {}, "D": []byte(`a"b`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"A", "1A=x", "A='x", `A="x`, "A=x y", "a b=c"} {
		if _, err := parseDotenv([]byte(bad)); err == nil || strings.Contains(err.Error(), "x") && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDotenvRefuses(t *testing.T) {
	for key, value := range map[string]string{"a-b": "", "1a": "", "": "", "a.b": "", "ok": "a\x00b"} {
		if _, err := dotenv(map[string][]byte{key: []byte(value)}); !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), `"`+key+`"`) {
			t.Errorf("%q: %v", key, err)
		}
	}
}
