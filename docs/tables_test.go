package docs_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/keyferry/keyferry/internal/cli" //nolint:depguard // what is written of the command is compared with it
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/secret"
)

const operations = "guide/operations.md"

var update = flag.Bool("update", false, "write the tables of docs again")

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// flagTable is what the command says of its flags, with those that have no effect
// below.
func flagTable(t *testing.T) string {
	t.Helper()
	command, _, err := cli.New(cli.Build{Clock: wallClock{}}).Find([]string{"controller"})
	if err != nil {
		t.Fatal(err)
	}
	table := "| flag | default | meaning |\n|---|---|---|\n"
	var ignored []string
	command.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			ignored = append(ignored, fmt.Sprintf("| `--%s` | %s |\n", f.Name, strings.TrimPrefix(f.Usage, "no effect: ")))
			return
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		table += fmt.Sprintf("| `--%s` | %s | %s |\n", f.Name, value, f.Usage)
	})
	return table + "\nAccepted, and without effect:\n\n| flag | because |\n|---|---|\n" + strings.Join(ignored, "")
}

func TestFlagsAreThoseOfTheCommand(t *testing.T) {
	const begin, end = "<!-- flags: go test ./docs -run Flags -update -->\n", "<!-- end of flags -->"
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	have, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s needs the lines %q and %q", operations, begin, end)
	}
	want := flagTable(t)
	if *update {
		if err := os.WriteFile(operations, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("%s is stale: go test ./docs -run Flags -update (-want +got):\n%s", operations, diff)
	}
}

// names collects the metrics that are registered.
type names struct {
	prometheus.Registerer
	all []string
}

// Register implements prometheus.Registerer.
func (n *names) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 16)
	c.Describe(ch)
	close(ch)
	for d := range ch {
		n.all = append(n.all, regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1])
	}
	return nil
}

func TestMetricsAreNamed(t *testing.T) {
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	n := &names{}
	if _, err := metrics.New(n, metrics.Options{}); err != nil {
		t.Fatal(err)
	}
	if len(n.all) < 8 {
		t.Fatalf("%d metrics are registered", len(n.all))
	}
	for _, name := range n.all {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s does not name the metric %s", operations, name)
		}
	}
}

func TestKindsAreExplained(t *testing.T) {
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []secret.Kind{
		secret.NotFound, secret.Unauthenticated, secret.Denied, secret.Invalid, secret.Unsupported,
		secret.Conflict, secret.RateLimited, secret.Unavailable, secret.Internal,
	} {
		if !strings.Contains(string(page), "| `"+string(kind)+"` |") {
			t.Errorf("%s does not say what to do about %s", operations, kind)
		}
	}
}
