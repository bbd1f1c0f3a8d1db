package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/internal/local"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/store"
	"github.com/keyferry/keyferry/template"
)

// syncOptions are the flags of sync.
type syncOptions struct {
	paths, credentials, only  []string
	out, format               string
	stdout, watch, dry, quiet bool
	timeout                   time.Duration
}

func newSync(b Build) *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "sync -f PATH… (--out DIR | --stdout)",
		Short: "Write the Secrets of ExternalSecrets to files, without Kubernetes",
		Long: "Reads SecretStores, ClusterSecretStores, ExternalSecrets, and the Secrets and ConfigMaps\n" +
			"that they refer to, from YAML files; reads the stores; and writes what the controller\n" +
			"would write, to files.\n\n" +
			"The exit code is that of the first ExternalSecret that failed: 2 invalid or unsupported,\n" +
			"4 not found, 5 denied or not authenticated, 6 conflict, 7 unavailable, 1 anything else.",
		Example: "  keyferry sync -f examples/quickstart --stdout\n" +
			"  keyferry sync -f app.yaml --credential vault/token=env:VAULT_TOKEN --out /run/secrets --format files --watch",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newRun(cmd, b, o)
			if err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.paths, "filename", "f", nil, "a file, a folder, or - for standard input; may be repeated")
	f.StringVarP(&o.out, "out", "o", "", "the folder to write to; it is made if it is not there")
	f.BoolVar(&o.stdout, "stdout", false, "print the Secrets, values included, instead of writing files")
	f.StringVar(&o.format, "format", string(local.FormatSecret), "secret (NAMESPACE.NAME.yaml), files (NAMESPACE/NAME/KEY) or dotenv (NAMESPACE/NAME.env)")
	f.StringArrayVar(&o.credentials, "credential", nil, "a key of a Secret: [NAMESPACE/]NAME/KEY=env:VARIABLE or =file:PATH; may be repeated")
	f.StringArrayVar(&o.only, "only", nil, "sync this ExternalSecret alone: NAME or NAMESPACE/NAME; may be repeated")
	f.BoolVarP(&o.watch, "watch", "w", false, "go on: refresh when it is due, and when a file changes")
	f.BoolVar(&o.dry, "dry-run", false, "say what would change in --out, and write nothing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print failures only")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long a run without --watch may take; 0 is no limit")
	return cmd
}

// check refuses flags that do not go together, and says which to use.
func (o syncOptions) check() error {
	wrong := map[string]bool{
		"name the manifests with -f PATH, or -f - for standard input":                len(o.paths) == 0,
		"say where to write: --out DIR for files, or --stdout to print the values":   o.out == "" && !o.stdout,
		"--out and --stdout exclude each other: leave one out":                       o.out != "" && o.stdout,
		"--stdout prints once: use --out DIR with --watch":                           o.stdout && o.watch,
		"--dry-run compares with files: use --out DIR with it":                       o.stdout && o.dry,
		"--dry-run looks once: leave out --watch":                                    o.watch && o.dry,
		"--format files is one file for each key: use --out DIR with it":             o.stdout && o.format == string(local.FormatFiles),
		"standard input cannot be watched: name files with -f, or leave out --watch": o.watch && slices.Contains(o.paths, "-"),
		"--timeout must not be negative":                                             o.timeout < 0,
		"-f is empty: name a file or a folder":                                       slices.Contains(o.paths, ""),
		"--only is empty: name an ExternalSecret":                                    slices.Contains(o.only, ""),
	}
	var problems []string
	for text, is := range wrong {
		if is {
			problems = append(problems, text)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return misuse(errors.New(strings.Join(problems, "; ")))
}

// syncRun is one execution of the command.
type syncRun struct {
	syncOptions
	cmd         *cobra.Command
	build       Build
	output      local.Options
	credentials []local.Credential
	report      *reporter
}

func newRun(cmd *cobra.Command, b Build, o syncOptions) (*syncRun, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &syncRun{syncOptions: o, cmd: cmd, build: b}
	s.report = &reporter{
		out: cmd.ErrOrStderr(), err: cmd.ErrOrStderr(),
		dry: o.dry, quiet: o.quiet || o.stdout, terminal: isTerminal(cmd.ErrOrStderr()),
	}
	if o.dry {
		s.report.out = cmd.OutOrStdout()
	}
	format, err := local.ParseFormat(o.format)
	if err != nil {
		return nil, err
	}
	s.output = local.Options{Dir: o.out, Format: format, Dry: o.dry}
	for _, text := range o.credentials {
		c, err := local.ParseCredential(text)
		if err != nil {
			return nil, fmt.Errorf("--credential: %w", err)
		}
		s.credentials = append(s.credentials, c)
	}
	if o.out == "" {
		return s, nil
	}
	return s, local.CheckApart(o.paths, o.out)
}

func (s *syncRun) run(ctx context.Context) error {
	load := func() (*local.Manifests, error) {
		return local.Load(local.Input{Paths: s.paths, Stdin: s.cmd.InOrStdin()})
	}
	var changed <-chan struct{}
	if s.watch {
		w, err := local.NewWatcher()
		if err != nil {
			return err
		}
		defer func() { _ = w.Close() }() // it has no state to lose
		changed = w.Changed()
		read := load
		load = func() (*local.Manifests, error) { // watched before it is read: no change is missed
			if err := w.Follow(local.Folders(s.paths, s.credentials)); err != nil {
				return nil, err
			}
			return read()
		}
	}
	m, err := load()
	if err != nil {
		return err
	}
	if len(m.Ignored) > 0 {
		s.report.note("ignored: %s", strings.Join(m.Ignored, ", "))
	}
	if err := s.checkOnly(m); err != nil {
		return err
	}
	engine, done, err := s.engine(m)
	if err != nil {
		return err
	}
	defer done()
	if s.watch {
		return s.keep(ctx, engine, m, load, changed)
	}
	return s.once(ctx, engine, m)
}

// engine puts the engine together; done ends what it opened.
func (s *syncRun) engine(m *local.Manifests) (engine *local.Engine, done func(), err error) {
	templates, err := template.New(template.Options{})
	if err != nil {
		return nil, nil, err
	}
	clients := httpx.New(httpx.Unrestricted(), httpx.Options{Version: s.build.Version})
	surroundings := local.NewSurroundings(s.credentials, clients.Client)
	if _, err := surroundings.Set(m); err != nil {
		return nil, nil, err
	}
	output, err := local.Open(s.output)
	if err != nil {
		return nil, nil, err
	}
	pool := store.New(store.Config{Registry: s.build.Registry, Generators: s.build.Generators, Surroundings: surroundings, Clock: s.build.Clock})
	engine = local.NewEngine(local.Config{
		Pool: pool, Generators: s.build.Generators, Templates: templates, Surroundings: surroundings, Output: output, Clock: s.build.Clock,
	})
	return engine, func() {
		s.close(pool)
		_ = output.Close() // files are closed when they are written
	}, nil
}

// closing is how long stores get to end their sessions.
const closing = 5 * time.Second

func (s *syncRun) close(pool *store.Pool) {
	closed := make(chan struct{})
	go func() {
		_ = pool.Close() // it reports nothing: sessions end by themselves too
		close(closed)
	}()
	select {
	case <-closed:
	case <-s.build.Clock.After(closing):
	}
}

// wanted reports whether --only names an ExternalSecret.
func (s *syncRun) wanted(es *esv1.ExternalSecret) bool {
	return len(s.only) == 0 || slices.Contains(s.only, es.Name) || slices.Contains(s.only, es.Namespace+"/"+es.Name)
}

// checkOnly fails with Invalid if there is nothing to do, or a name of --only is not
// there.
func (s *syncRun) checkOnly(m *local.Manifests) error {
	if len(m.ExternalSecrets) == 0 {
		return misuse(fmt.Errorf("there is no ExternalSecret in %s", strings.Join(s.paths, ", ")))
	}
	var names []string
	for _, es := range m.ExternalSecrets {
		names = append(names, es.Namespace+"/"+es.Name)
	}
	for _, only := range s.only {
		if !slices.ContainsFunc(names, func(n string) bool { return n == only || strings.HasSuffix(n, "/"+only) }) {
			return misuse(fmt.Errorf("--only %s: there is no such ExternalSecret; there are %s", only, strings.Join(names, ", ")))
		}
	}
	return nil
}

// once makes one pass over all that is wanted.
func (s *syncRun) once(ctx context.Context, engine *local.Engine, m *local.Manifests) error {
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	list := slices.DeleteFunc(slices.Clone(m.ExternalSecrets), func(es *esv1.ExternalSecret) bool { return !s.wanted(es) })
	s.report.total = len(list)
	s.report.progress()
	engine.Sync(ctx, m, list, s.build.Clock.Now(), s.report.result)
	if s.report.done < s.report.total {
		s.report.note("%s after %d of %d", context.Cause(ctx), s.report.done, s.report.total)
		return context.Cause(ctx)
	}
	s.report.summary()
	if s.stdout {
		if err := engine.Output.Write(s.cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	if s.report.first != nil {
		return toldError{s.report.first}
	}
	return nil
}

// keep keeps what is wanted fresh until ctx ends. Being terminated is how that ends
// well.
func (s *syncRun) keep(ctx context.Context, engine *local.Engine, m *local.Manifests, load func() (*local.Manifests, error), changed <-chan struct{}) error {
	keeper := local.Keeper{
		Engine: engine, Load: load, Wanted: s.wanted, Changed: changed,
		Report: s.report.result,
		Trouble: func(err error) {
			s.report.failure("keyferry: what was read before stays in use: %s", reconcile.Message(err))
		},
	}
	keeper.Run(ctx, m)
	if cause := context.Cause(ctx); !errors.Is(cause, Terminated) {
		return cause
	}
	return nil
}
