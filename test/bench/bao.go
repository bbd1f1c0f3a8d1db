package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	metaapi "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/testenv"
)

// bao is an OpenBao, and the connections of a client that works on many secrets at once.
type bao struct {
	server *testenv.Bao
	client *http.Client
}

func newBao(ctx context.Context) (*bao, error) {
	server, err := testenv.NewBao(ctx)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = parallel
	return &bao{server, &http.Client{Transport: transport}}, nil
}

// do makes one call below secret/, and decodes the data of the answer. That there is
// nothing is no error: then the data are left alone.
func (v *bao) do(ctx context.Context, method, path string, body, data any) error {
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, v.server.Address+"/v1/secret/"+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", v.server.RootToken)
	resp, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body) // the connection is used again
	if err != nil || resp.StatusCode == http.StatusNotFound {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if data == nil {
		return nil
	}
	return json.Unmarshal(answer, &struct{ Data any }{data})
}

// objects are a namespace with the store "bao".
func (v *bao) objects(namespace string) []client.Object {
	path := "secret"
	return []client.Object{
		namespaceOf(namespace),
		secretOf(namespace, "bao-token", map[string]string{"token": v.server.RootToken}),
		&v1.SecretStore{
			ObjectMeta: meta(namespace, "bao"),
			Spec: v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Vault: &v1.VaultProvider{
				Server: v.server.Address, Path: &path, Version: v1.VaultKVStoreV2,
				Auth: &v1.VaultAuth{TokenSecretRef: &metaapi.SecretKeySelector{Name: "bao-token", Key: "token"}},
			}}},
		},
	}
}
