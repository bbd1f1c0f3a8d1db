package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// bare returns how many objects a second a client manages that does nothing but read
// three keys, create a Secret and patch a status. Somebody watches, as for the
// controller.
func (b *bench) bare(ctx context.Context) (float64, error) {
	seen, err := b.watchReady(ctx, bareNamespace)
	if err != nil {
		return 0, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = parallel
	reader := &http.Client{Transport: transport}
	if err := b.each(ctx, func(ctx context.Context, i int) error { return b.bareObject(ctx, reader, i) }); err != nil {
		return 0, err
	}
	first, last, err := seen.all(ctx, b.n)
	return perSecond(b.n, first, last), err
}

func perSecond(n int, first, last time.Time) float64 {
	return float64(n-1) / last.Sub(first).Seconds()
}

func (b *bench) bareObject(ctx context.Context, reader *http.Client, i int) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: objectName(i), Labels: map[string]string{v1.LabelManaged: v1.LabelManagedValue}},
		Data:       map[string][]byte{},
	}
	for _, name := range names() {
		value, err := b.bareRead(ctx, reader, key(i, name))
		if err != nil {
			return err
		}
		secret.Data[name] = []byte(value)
	}
	if err := b.api.Create(ctx, secret); err != nil {
		return err
	}
	now := metav1.Now().Rfc3339Copy()
	patch, err := json.Marshal(map[string]any{"status": v1.ExternalSecretStatus{
		RefreshTime: now, SyncedResourceVersion: "1-bare", Binding: corev1.LocalObjectReference{Name: secret.Name},
		Conditions: []v1.ExternalSecretStatusCondition{{Type: v1.ExternalSecretReady, Status: "True", Reason: v1.ConditionReasonSecretSynced, Message: "secret synced", LastTransitionTime: now}},
	}})
	if err != nil {
		return err
	}
	es := &v1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: secret.Name}}
	return b.api.Status().Patch(ctx, es, client.RawPatch(types.MergePatchType, patch))
}

func (b *bench) bareRead(ctx context.Context, reader *http.Client, key string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.bao.Address+"/v1/secret/data/"+key, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Vault-Token", b.bao.RootToken)
	resp, err := reader.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("read %s: %s", key, resp.Status)
	}
	var body struct {
		Data struct{ Data map[string]string }
	}
	err = json.NewDecoder(resp.Body).Decode(&body)
	return body.Data.Data["value"], err
}
