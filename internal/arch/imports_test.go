package arch_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keyferry/keyferry"

// root is the checkout, from the folder that the tests run in.
const root = "../.."

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	Deps       []string
}

// name is the import path from the root of the module: "internal/arch".
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func (p pkg) ours() bool { return strings.HasPrefix(p.ImportPath, module+"/") }

// rule says what packages must not import. A package is named by the folder that
// it or its parents have.
type rule struct {
	of     string   // the folder that the rule is for
	except []string // folders in it that the rule is not for
	never  []string // folders of ours, or import paths of others, that it never imports, directly or not
	direct []string // as never, but indirectly it may: the standard library imports them itself
	only   []string // when set, the only folders of ours that it imports
	why    string
}

func rules() []rule {
	kubernetes := []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	sdks := []string{
		"github.com/aws", "cloud.google.com/go", "google.golang.org/api", "github.com/Azure/azure-sdk-for-go",
		"github.com/hashicorp/vault", "github.com/openbao",
	}
	reaching := []string{"net", "net/http", "os", "os/exec", "log", "log/slog"}
	return []rule{
		{of: "secret", never: []string{"*"}, why: "the vocabulary needs the standard library alone"},
		{of: "provider", except: []string{"provider/providertest"}, only: []string{"secret"}, never: []string{"*"}, direct: []string{"log", "log/slog"}, why: "the contract knows no Kubernetes, no SDK and no logging"},
		{of: "api", only: []string{"api"}, never: slices.Concat(kubernetes, sdks), why: "whoever imports the types gets apimachinery and nothing else"},
		{of: "template", only: []string{"secret", "api"}, never: slices.Concat(kubernetes, sdks), direct: reaching, why: "a decision is a pure function"},
		{of: "plan", only: []string{"secret", "api", "template"}, never: slices.Concat(kubernetes, sdks), direct: reaching, why: "a decision is a pure function"},
		{of: "store", only: []string{"secret", "provider", "generator"}, never: slices.Concat(kubernetes, sdks), why: "the funnel runs without Kubernetes and knows no backend"},
		{of: "providers", except: []string{"providers/all"}, never: []string{"store", "plan", "internal/controller", "internal/reconcile", "internal/cluster", "sigs.k8s.io/controller-runtime"}, why: "a provider only moves bytes"},
		{of: "internal/vaultapi", never: []string{"providers", "store", "plan", "internal/controller", "sigs.k8s.io/controller-runtime"}, why: "a provider only moves bytes"},
		{of: "generator", except: []string{"generator/generatortest"}, only: []string{"secret", "provider"}, never: []string{"*"}, direct: []string{"log", "log/slog"}, why: "the contract knows no Kubernetes, no SDK and no logging"},
		{of: "generators", except: []string{"generators/all"}, never: []string{"store", "plan", "providers", "internal/controller", "internal/reconcile", "internal/cluster", "sigs.k8s.io/controller-runtime"}, why: "a generator only makes values"},
		{of: "internal/httpx", only: []string{"secret", "provider"}, never: slices.Concat(kubernetes, sdks), why: "one transport for all, with or without Kubernetes"},
		{of: "internal/controller", never: slices.Concat(sdks, []string{"providers"}), why: "providers come in by the registry, and every call goes through store"},
		{of: "internal/reconcile", never: slices.Concat(sdks, []string{"providers", "internal/controller"}), why: "the loop does not know what it runs"},
		{of: "internal/local", never: []string{"internal/controller", "internal/cluster", "sigs.k8s.io/controller-runtime"}, why: "it runs without Kubernetes"},
		{of: "internal/events", never: []string{"store", "plan", "internal/controller"}, why: "an event only makes a key due: it never does work"},
		{of: "internal/identity", never: []string{"providers", "generators", "store", "plan", "internal/controller", "sigs.k8s.io/controller-runtime", "k8s.io/client-go"}, why: "who somebody is at a cloud has nothing to do with what is read there"},
		{of: "cmd", never: []string{"internal/testenv", "internal/awstest"}, why: "the product starts no test servers"},
	}
}

// within reports whether the import path is in one of the folders; "*" is
// everything outside the standard library and this module.
func within(path string, standard bool, folders []string) bool {
	for _, folder := range folders {
		if folder == "*" && !standard && !strings.HasPrefix(path, module+"/") {
			return true
		}
		if inside(path, folder) || inside(path, module+"/"+folder) {
			return true
		}
	}
	return false
}

func inside(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// violations returns the packages that p imports against the rule, by import path.
func (r rule) violations(p pkg, all map[string]pkg) []string {
	if !inside(p.name(), r.of) || within(p.ImportPath, false, r.except) {
		return nil
	}
	var bad []string
	for _, dep := range p.Deps {
		if r.forbids(all[dep]) {
			bad = append(bad, dep)
		}
	}
	for _, dep := range p.Imports {
		if slices.Contains(r.direct, dep) {
			bad = append(bad, dep)
		}
	}
	return bad
}

// forbids reports whether the rule forbids to import p, directly or not.
func (r rule) forbids(p pkg) bool {
	if r.only != nil && p.ours() && !inside(p.name(), r.of) && !within(p.ImportPath, false, r.only) {
		return true
	}
	return within(p.ImportPath, p.Standard, r.never)
}

// chain returns one way from the package to what it imports.
func chain(from, to string, all map[string]pkg) string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range all[queue[0]].Imports {
			if _, seen := before[next]; !seen {
				before[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	way := to
	for at := before[to]; at != ""; at = before[at] {
		way = at + " → " + way
	}
	return strings.ReplaceAll(way, module+"/", "")
}

// list returns the packages of the module and all that they import.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,Imports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		exit, _ := errors.AsType[*exec.ExitError](err)
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	all := map[string]pkg{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func TestImportsPointTheRightWay(t *testing.T) {
	all := list(t)
	for _, p := range all {
		if !p.ours() {
			continue
		}
		for _, r := range rules() {
			for _, dep := range r.violations(p, all) {
				t.Errorf("%s\n\t%s: %s", chain(p.ImportPath, dep, all), r.of, r.why)
			}
		}
		for _, dep := range p.Imports {
			checkNeighbor(t, p, all[dep])
		}
	}
}

// checkNeighbor fails if p imports what only its own kind may.
func checkNeighbor(t *testing.T, p, dep pkg) {
	t.Helper()
	if !dep.ours() {
		return
	}
	for _, family := range []string{"providers", "generators", "internal/controller"} {
		a, in := member(p.name(), family)
		b, also := member(dep.name(), family)
		if in && also && a != b && a != "all" {
			t.Errorf("%s imports %s: members of %s do not know each other", p.name(), dep.name(), family)
		}
	}
	if inside(dep.name(), "internal/cli") && !inside(p.name(), "cmd") && !inside(p.name(), "internal/cli") && !inside(p.name(), "test") {
		t.Errorf("%s imports %s: commands import everything, nothing imports them", p.name(), dep.name())
	}
}

// member returns which member of a family of folders a package belongs to.
func member(name, family string) (string, bool) {
	rest, in := strings.CutPrefix(name, family+"/")
	first, _, _ := strings.Cut(rest, "/")
	return first, in
}

func TestRulesFindWhatTheyForbid(t *testing.T) {
	all := map[string]pkg{
		"net/http":                   {ImportPath: "net/http", Standard: true},
		"k8s.io/client-go/rest":      {ImportPath: "k8s.io/client-go/rest"},
		"example.com/x":              {ImportPath: "example.com/x"},
		module + "/secret":           {ImportPath: module + "/secret"},
		module + "/store":            {ImportPath: module + "/store"},
		module + "/providers/all":    {ImportPath: module + "/providers/all"},
		module + "/internal/testenv": {ImportPath: module + "/internal/testenv"},
	}
	for name, test := range map[string]struct {
		of      string
		imports string
		want    bool
	}{
		"a foreign module in the vocabulary":   {"secret", "example.com/x", true},
		"the standard library in it":           {"secret", "net/http", false},
		"the vocabulary in the contract":       {"provider", module + "/secret", false},
		"the funnel in the contract":           {"provider", module + "/store", true},
		"HTTP in a decision":                   {"plan", "net/http", true},
		"a client library in a decision":       {"plan", "k8s.io/client-go/rest", true},
		"the vocabulary in a decision":         {"plan", module + "/secret", false},
		"a client library in the funnel":       {"store", "k8s.io/client-go/rest", true},
		"the funnel in a provider":             {"providers/vault", module + "/store", true},
		"a provider in a controller":           {"internal/controller/x", module + "/providers/all", true},
		"the funnel in a controller":           {"internal/controller/x", module + "/store", false},
		"the funnel in the event path":         {"internal/events/server", module + "/store", true},
		"test servers in the product":          {"cmd/keyferry", module + "/internal/testenv", true},
		"a folder that only begins like a one": {"secretary", "example.com/x", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := pkg{ImportPath: module + "/" + test.of, Imports: []string{test.imports}, Deps: []string{test.imports}}
			var bad []string
			for _, r := range rules() {
				bad = append(bad, r.violations(p, all)...)
			}
			if got := len(bad) > 0; got != test.want {
				t.Errorf("%s importing %s: forbidden %v, want %v", test.of, test.imports, got, test.want)
			}
		})
	}
}
