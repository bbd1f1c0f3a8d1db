package integration

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generators/vaultdynamicsecret"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/internal/testenv"
)

// A token of a real server lives as long as it is in use.
func TestAVaultTokenIsRevokedWhenItIsReplaced(t *testing.T) {
	t.Parallel()
	m := &making{kit: newKit(t)}
	bao := testenv.StartOpenBao(t)
	registry, err := generator.NewRegistry(vaultdynamicsecret.Generator())
	if err != nil {
		t.Fatal(err)
	}
	start := func() func() {
		return m.run(func(o *controller.Options) {
			o.Generators, o.GeneratorState, o.GeneratorGrace = registry, true, 2*time.Minute
		})
	}
	stop := start()
	alive := func(token string) bool {
		_, err := bao.Do(t.Context(), http.MethodPost, "auth/token/lookup", map[string]string{"token": token})
		return err == nil
	}
	gone := func(token string) {
		t.Helper()
		m.await("the token", func() string {
			if alive(token) {
				return "is alive"
			}
			return ""
		})
	}
	m.secret("root", map[string]string{"token": bao.RootToken})
	m.create(genGroup, genv1alpha1.VaultDynamicSecretKind, "token", `spec: {path: auth/token/create, method: POST, resultType: Auth, parameters: {ttl: 1h, policies: [default]}, provider: {server: "`+bao.Address+`", auth: {tokenSecretRef: {name: root, key: token}}}}`)
	m.externalSecret("app", `{refreshInterval: 24h, dataFrom: [{sourceRef: {generatorRef: {kind: VaultDynamicSecret, name: token}}}]}`)
	first := m.value("client_token", "")
	m.awaitSynced("app")
	if !alive(first) {
		t.Fatal("the token is not good for anything")
	}
	m.ask("app")
	second := m.value("client_token", first)
	m.awaitRetired(1)
	m.awaitSynced("app")
	if !alive(first) {
		t.Error("the token was revoked while it may be in use")
	}
	m.clock.jump(3 * time.Minute)
	stop()
	start()
	gone(first)
	m.nudge()
	if got := m.data(&corev1.Secret{}, "app")["client_token"]; got != second || !alive(second) {
		t.Error("the token in use is not good any more")
	}
	m.delete(&esv1.ExternalSecret{}, "app")
	gone(second)
}
