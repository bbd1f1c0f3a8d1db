package provider

import (
	"context"
	"net/http"
	"time"

	"github.com/keyferry/keyferry/secret"
)

// Env is all that a provider sees of its surroundings. Whose Secrets may be read
// is decided behind it: a provider hands over references as the manifest has them
// and never a namespace of its own choosing.
type Env interface {
	// Credential reads what a reference of the store's manifest points to. It
	// fails with Unauthenticated if it is not there, Denied by the namespace rule, and with
	// ErrReferent if the reference is resolved in the namespace of the consumer
	// and there is none.
	Credential(ctx context.Context, ref CredentialRef) (secret.Value, error)
	// Token returns a token for a service account, from a cache while it is fresh.
	// The namespace rule and ErrReferent are as for Credential.
	Token(ctx context.Context, req TokenRequest) (secret.Value, error)
	// HTTP returns a client on the one transport: egress policy, proxy, timeouts
	// and a limit on bodies come with it. It fails with Invalid if the TLS
	// material cannot be read.
	HTTP(TLS) (*http.Client, error)
	// Clock returns the clock. Providers ask nothing else for the time.
	Clock() Clock
	// Observe counts one call to the backend under the name that ESO's metrics
	// have for it, such as "ReadSecretData".
	Observe(call string, err error)
}

// ErrReferent says that a reference without a namespace, in a cluster store, can
// only be resolved for a consumer: the store cannot be validated on its own.
const ErrReferent = referentError("the reference has no namespace: it is resolved in the namespace of each consumer")

type referentError string

func (e referentError) Error() string { return string(e) }

// CredentialRef is a reference as the manifest of a store has it.
type CredentialRef struct {
	// Kind is Secret (also when empty), ConfigMap, or ServiceAccount: its annotations
	// are the data then.
	Kind string
	// Namespace is what the manifest says; nil if it says nothing.
	Namespace *string
	Name      string
	// Key names the value in it. Empty asks for all of it, as a JSON object of
	// strings.
	Key string
	// Field is the path of the reference in the spec, for errors:
	// "spec.provider.vault.auth.tokenSecretRef".
	Field string
	// Label, if not empty, is a "name=value" label that the Secret must carry to be
	// handed over. It is a guard: stores that send Secrets to addresses which a
	// tenant names set it.
	Label string
}

// Consumer is whom a store is open for.
type Consumer struct {
	// Namespace is that of the object that uses the store. Empty for a cluster store
	// whose connections all consumers share; see PerConsumer.
	Namespace string
	// StoreKind and StoreName are those of the store's manifest.
	StoreKind, StoreName string
}

// ConsumerOf returns whom a store is open for; the zero Consumer if its surroundings
// do not say.
func ConsumerOf(env Env) Consumer {
	if e, ok := env.(interface{ Consumer() Consumer }); ok {
		return e.Consumer()
	}
	return Consumer{}
}

// PerConsumer is implemented by the spec of a provider that can need one connection
// for each namespace of consumers, because it tells the backend whom it is for.
type PerConsumer interface{ PerConsumer() bool }

// TokenRequest asks for a service account token.
type TokenRequest struct {
	Namespace      *string
	ServiceAccount string
	// Audiences is never empty: a token for everybody is refused with Invalid.
	Audiences []string
	// Lifetime is the wish; zero is 10 minutes, the least that Kubernetes grants.
	Lifetime time.Duration
	Field    string
}

// ClusterAudience stands for the audience of the cluster's own API server, whatever
// that is called there. Such a token can be used against the API server too: it is
// for backends that have the API server check it.
const ClusterAudience = "@cluster"

// TLS is how a connection is secured. The zero value uses the system's roots.
type TLS struct {
	// CA is a PEM bundle of the roots to trust instead of the system's.
	CA []byte
	// Cert and Key are a PEM client certificate for mutual TLS.
	Cert []byte
	Key  secret.Value
	// ServerName overrides the name that the certificate is checked against.
	ServerName string
}

// Clock tells the time and wakes whoever waits for it.
type Clock interface {
	Now() time.Time
	// After sends the time once d has passed.
	After(d time.Duration) <-chan time.Time
}
