package kubernetes

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
)

const retryAfter = 7 * time.Second

// proxy stands in front of the API server. Its transport proves nobody's identity:
// who calls is told by the token that passes through.
func (f fixture) proxy() *providertest.Proxy {
	f.Helper()
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(f.config))
	if err != nil {
		f.Fatal(err)
	}
	return providertest.NewProxy(f, f.config.Host, transport, retryAfter)
}

func TestConformance(t *testing.T) {
	f := newFixture(t)
	f.token("good", "writer")
	f.token("weak", "nobody")
	f.env.Put("", providertest.Namespace, "bad", map[string]string{"token": providertest.Mark})
	proxy := f.proxy()
	providertest.Run(t, providertest.Harness{
		Env: f.env,
		Open: func(ctx context.Context, s providertest.Situation) (provider.Store, error) {
			login := map[providertest.Situation]string{providertest.BadCredential: "bad", providertest.Underprivileged: "weak"}[s]
			if login == "" {
				login = "good"
			}
			spec := f.spec(byToken(login))
			spec.Server.URL = proxy.URL(s)
			return Provider().Open(ctx, spec, f.env)
		},
		Seed: f.seed,
		Delete: func(t providertest.T, key string) {
			if err := f.client.CoreV1().Secrets(f.namespace).Delete(t.Context(), key, metav1.DeleteOptions{}); err != nil {
				t.Fatalf("delete %s: %v", key, err)
			}
		},
		Foreign: func(t providertest.T, key string, value []byte) {
			f.apply(t, providertest.Entry{Key: key, Value: value, Tags: map[string]string{provider.Mark: "somebody"}})
		},
		Held:    f.held,
		Value:   field,
		Content: withField,
		Abilities: []providertest.Ability{
			providertest.Reader, providertest.Lister, providertest.Checker, providertest.Metadata, providertest.Tags,
			providertest.Writer, providertest.Deleter, providertest.CompareAndSet, providertest.Marks,
		},
		Page:       pageSize,
		Reached:    proxy.Reached(),
		RetryAfter: retryAfter,
	})
}
