package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/secret"
)

// newController returns the command that works in a cluster.
func newController(b Build) *cobra.Command {
	o := controller.Options{Registry: b.Registry, Generators: b.Generators, Version: b.Version}
	var level, times, kubeconfig string
	var allow []string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Keep the Secrets of a cluster in step with their stores",
		Long: "Runs the controllers for ExternalSecrets, PushSecrets, their stores, their generators and their\n" +
			"cluster-wide kinds.\n" +
			"The flags are those of External Secrets Operator; the defaults need no tuning.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Metrics.Auth && !o.Metrics.Secure {
				return misuse(errors.New("--metrics-auth sends tokens and so needs --metrics-secure"))
			}
			if o.Concurrency < 1 {
				return misuse(fmt.Errorf("--concurrent is %d: it must be at least 1", o.Concurrency))
			}
			var err error
			if o.EgressAllow, err = prefixes(allow); err != nil {
				return misuse(err)
			}
			if o.Logger, err = logger(cmd, level, times); err != nil {
				return misuse(err)
			}
			rules := clientcmd.NewDefaultClientConfigLoadingRules()
			rules.ExplicitPath = kubeconfig
			cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
			if clientcmd.IsEmptyConfig(err) {
				return misuse(errors.New("no cluster to work in: run in one, or set --kubeconfig or KUBECONFIG"))
			}
			if err != nil {
				return misuse(fmt.Errorf("--kubeconfig: %w", err))
			}
			return controller.Run(cmd.Context(), cfg, o)
		},
	}
	f := cmd.Flags()
	workFlags(f, &o)
	serveFlags(f, &o)
	f.StringVar(&level, "loglevel", "info", "what is logged: debug, info, warn, error, dpanic, panic or fatal")
	f.StringVar(&times, "zap-time-encoding", "epoch", "how log lines tell the time: epoch, millis, nano, iso8601, rfc3339 or rfc3339nano")
	f.StringSliceVar(&allow, "egress-allow", nil, "networks such as 10.0.0.0/8 that SecretStores may connect to although they are loopback, link-local or metadata addresses")
	f.StringVar(&kubeconfig, "kubeconfig", "", "the file that says which cluster; empty is KUBECONFIG, the pod's own cluster, or ~/.kube/config")
	ignoredFlags(f)
	return cmd
}

// misuse marks an error as the caller's to correct.
func misuse(err error) error { return &secret.Error{Kind: secret.Invalid, Err: err} }

func workFlags(f *pflag.FlagSet, o *controller.Options) {
	f.StringVar(&o.Class, "controller-class", "default", "the value of a store's spec.controller that is served, beside none")
	f.StringVar(&o.Namespace, "namespace", "", "work in this namespace only")
	f.IntVar(&o.Concurrency, "concurrent", 32, "how many objects of one kind are worked on at once")
	f.DurationVar(&o.StoreInterval, "store-requeue-interval", 5*time.Minute, "how often a store without a refreshInterval is checked")
	f.BoolVar(&o.ClusterStores, "enable-cluster-store-reconciler", true, "serve ClusterSecretStores")
	f.BoolVar(&o.SecretStores, "enable-secret-store-reconciler", true, "serve SecretStores")
	f.BoolVar(&o.PushSecrets, "enable-push-secret-reconciler", true, "serve PushSecrets")
	f.BoolVar(&o.ClusterExternalSecrets, "enable-cluster-external-secret-reconciler", true, "serve ClusterExternalSecrets, unless --namespace is set")
	f.BoolVar(&o.ClusterPushSecrets, "enable-cluster-push-secret-reconciler", true, "serve ClusterPushSecrets, unless --namespace is set")
	f.BoolVar(&o.GeneratorState, "enable-generator-state", true, "keep account of what generators leave behind at a service, in GeneratorStates, and end it")
	f.DurationVar(&o.GeneratorGrace, "generator-gc-grace-period", 2*time.Minute, "how long what a generator made lives on once it is replaced")
	f.BoolVar(&o.FloodGate, "enable-flood-gate", true, "read from a store only while it is Ready")
	f.BoolVar(&o.AllowGeneric, "unsafe-allow-generic-targets", false, "allow targets that are not Secrets")
	f.BoolVar(&o.ExtendedLabels, "enable-extended-metric-labels", false, "add the recommended labels of an object to its metrics")
	f.StringVar(&o.TemplateLeft, "template-left-delimiter", "{{", "what begins a template action")
	f.StringVar(&o.TemplateRight, "template-right-delimiter", "}}", "what ends a template action")
}

func serveFlags(f *pflag.FlagSet, o *controller.Options) {
	m, l := &o.Metrics, &o.LeaderElection
	f.StringVar(&m.Address, "metrics-addr", ":8080", "where metrics are served; 0 serves none")
	f.BoolVar(&m.Auth, "metrics-auth", false, "let the API server decide who may read metrics")
	f.BoolVar(&m.Secure, "metrics-secure", false, "serve metrics over HTTPS")
	f.StringVar(&m.CertDir, "metrics-cert-dir", "", "the folder with the certificate of the metrics server; empty makes one")
	f.StringVar(&m.CertName, "metrics-cert-name", "tls.crt", "the file name of that certificate")
	f.StringVar(&m.KeyName, "metrics-key-name", "tls.key", "the file name of its key")
	f.BoolVar(&m.HTTP2, "enable-http2", false, "allow HTTP/2 for metrics")
	f.StringVar(&o.ProbeAddress, "live-addr", ":8082", "where /healthz and /readyz are served; 0 serves none")
	f.BoolVar(&l.Enabled, "enable-leader-election", false, "let one of several replicas work")
	f.StringVar(&l.ID, "leader-election-id", "external-secrets-controller", "the name of the lease")
	f.StringVar(&l.Namespace, "leader-election-namespace", "", "the namespace of the lease; empty is the pod's own")
	f.DurationVar(&l.Lease, "leader-election-lease-duration", 15*time.Second, "how long others wait for a leader that is silent")
	f.DurationVar(&l.RenewDeadline, "leader-election-renew-deadline", 10*time.Second, "how long the leader tries to renew before it gives up")
	f.DurationVar(&l.RetryGap, "leader-election-retry-period", 2*time.Second, "how long to wait between tries")
}

// ignoredFlags are flags of ESO for what is done without being asked here, or is not
// part of this build: a Deployment that sets them starts as it is.
func ignoredFlags(f *pflag.FlagSet) {
	why := map[string]string{
		"client-qps":                               "the API server's priority and fairness limits requests",
		"client-burst":                             "the API server's priority and fairness limits requests",
		"enable-secrets-caching":                   "values are never cached; metadata always is",
		"enable-configmaps-caching":                "values are never cached; metadata always is",
		"enable-managed-secrets-caching":           "values are never cached; metadata always is",
		"enable-vault-token-cache":                 "logins are always shared",
		"vault-token-cache-size":                   "logins are always shared",
		"doppler-etag-cache-size":                  "the provider is not part of this build",
		"experimental-enable-doppler-oidc-cache":   "the provider is not part of this build",
		"experimental-doppler-oidc-cache-size":     "the provider is not part of this build",
		"mysterybox-tokens-cache-size":             "the provider is not part of this build",
		"mysterybox-connections-cache-size":        "the provider is not part of this build",
		"enable-secret-api-read-on-cache-mismatch": "writes are checked against the version that was read",
		"experimental-enable-vault-token-cache":    "logins are always shared",
		"experimental-vault-token-cache-size":      "logins are always shared",
	}
	for name, reason := range why {
		f.String(name, "", "no effect: "+reason)
		f.Lookup(name).NoOptDefVal = "true"
		_ = f.MarkHidden(name) // it fails for a flag that does not exist
	}
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--egress-allow: %q is not a network such as 10.0.0.0/8", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// logger returns the logger that the flags describe. It writes JSON.
func logger(cmd *cobra.Command, level, times string) (logr.Logger, error) {
	parsed, err := zapcore.ParseLevel(level)
	if err != nil {
		return logr.Logger{}, fmt.Errorf("--loglevel: %q is none of debug, info, warn, error, dpanic, panic, fatal", level)
	}
	var encoder zapcore.TimeEncoder
	if err := encoder.UnmarshalText([]byte(times)); err != nil {
		return logr.Logger{}, fmt.Errorf("--zap-time-encoding: %w", err)
	}
	return zap.New(zap.WriteTo(cmd.ErrOrStderr()), zap.Level(parsed), zap.JSONEncoder(func(c *zapcore.EncoderConfig) { c.EncodeTime = encoder })), nil
}
