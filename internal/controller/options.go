package controller

import (
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
)

// Options are the flags of the controller, under the names that ESO gives them.
type Options struct {
	Registry provider.Registry
	// Generators may be empty: then references to generators fail.
	Generators generator.Registry
	Logger     logr.Logger
	Version    string
	// Registerer takes the metrics; nil is the one that the metrics server serves.
	Registerer prometheus.Registerer
	// Clock is the system's if nil.
	Clock provider.Clock

	// Class is the controller class served beside none.
	Class string
	// Namespace restricts the process to one namespace; empty is all.
	Namespace string
	// Concurrency is the number of objects of one kind worked on at once.
	Concurrency int
	// StoreInterval is how often a store without its own interval is checked.
	StoreInterval time.Duration

	ClusterStores, SecretStores, FloodGate, AllowGeneric, ExtendedLabels bool
	// PushSecrets serves PushSecrets; the others serve the kinds that spread them and
	// ExternalSecrets over namespaces, unless Namespace restricts the process.
	PushSecrets, ClusterExternalSecrets, ClusterPushSecrets bool
	// GeneratorState keeps account of what generators leave behind; GeneratorGrace is how
	// long what was replaced lives on.
	GeneratorState bool
	GeneratorGrace time.Duration
	// EgressAllow exempts addresses from what namespaces may connect stores to.
	EgressAllow []netip.Prefix

	// TemplateLeft and TemplateRight delimit template actions.
	TemplateLeft, TemplateRight string

	Metrics        MetricsOptions
	ProbeAddress   string
	LeaderElection LeaderElection
}

// MetricsOptions say where and how metrics are served.
type MetricsOptions struct {
	// Address is host:port; "0" serves none.
	Address                    string
	Secure, Auth, HTTP2        bool
	CertDir, CertName, KeyName string
}

// LeaderElection lets one of several replicas work.
type LeaderElection struct {
	Enabled                        bool
	ID, Namespace                  string
	Lease, RenewDeadline, RetryGap time.Duration
}
