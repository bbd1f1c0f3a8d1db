package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/testenv"
)

//go:embed objects.yaml
var objects string

// demo is what there is to play with.
type demo struct {
	plane *testenv.ControlPlane
	bao   *testenv.Bao
	api   client.Client
}

// fill writes a secret to OpenBao and the objects to the API server.
func (d *demo) fill(ctx context.Context) error {
	secret := map[string]any{"data": map[string]string{"user": "shop", "password": "first"}}
	if _, err := d.bao.Do(ctx, http.MethodPost, "secret/data/shop/database", secret); err != nil {
		return err
	}
	token, err := d.token(ctx)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if d.api, err = client.New(d.plane.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	text := strings.NewReplacer("${TOKEN}", token, "${OPENBAO}", d.bao.Address).Replace(objects)
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = d.apply(ctx, doc)
		}
		if err != nil {
			return fmt.Errorf("test/dev/objects.yaml: %w", err)
		}
	}
}

// token makes a token that may do what the samples need.
func (d *demo) token(ctx context.Context) (string, error) {
	policy := map[string]string{"policy": `
path "secret/data/shop/*" { capabilities = ["read"] }
path "secret/data/pushed/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/pushed/*" { capabilities = ["create", "read", "update", "delete"] }`}
	if _, err := d.bao.Do(ctx, http.MethodPost, "sys/policies/acl/shop", policy); err != nil {
		return "", err
	}
	answer, err := d.bao.Do(ctx, http.MethodPost, "auth/token/create", map[string]any{"policies": []string{"shop"}})
	if err != nil {
		return "", err
	}
	var created struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	err = json.Unmarshal(answer, &created)
	return created.Auth.Token, err
}

func (d *demo) apply(ctx context.Context, doc []byte) error {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(doc, &u.Object); err != nil {
		return err
	}
	body, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	return d.api.Patch(ctx, u, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner("dev"))
}

// patience is how long the objects may take to become Ready.
const patience = 30 * time.Second

// shown are the kinds that awaitReady waits for.
func shown() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		v1.GroupVersion().WithKind(v1.ExtSecretKind), v1.GroupVersion().WithKind(v1.ClusterExtSecretKind),
		v1alpha1.GroupVersion().WithKind(v1alpha1.PushSecretKind),
	}
}

// awaitReady prints the objects once all of them are Ready.
func (d *demo) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var all []unstructured.Unstructured
		for _, kind := range shown() {
			var list unstructured.UnstructuredList
			list.SetGroupVersionKind(kind)
			if err := d.api.List(ctx, &list); err != nil {
				return err
			}
			all = append(all, list.Items...)
		}
		ready, table := summary(all)
		if ready {
			fmt.Print(table)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the objects are not Ready:\n%s", table)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// summary is a line for each object, and whether all are Ready.
func summary(all []unstructured.Unstructured) (ready bool, table string) {
	ready = true
	for _, o := range all {
		is, message := condition(o)
		ready = ready && is
		table += fmt.Sprintf("  %s %s: %s\n", o.GetKind(), strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"), message)
	}
	return ready, table
}

// condition is what the condition Ready of an object says.
func condition(o unstructured.Unstructured) (ready bool, message string) {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // the definitions have made sure of its form
	for _, one := range list {
		if c, ok := one.(map[string]any); ok && c["type"] == string(v1.ExternalSecretReady) {
			return c["status"] == string(metav1.ConditionTrue), fmt.Sprint(c["message"])
		}
	}
	return false, "not looked at yet"
}

// explain says what to try.
func (d *demo) explain(c *controller) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		fmt.Println("\nkubectl is not installed: the commands below need it, everything runs without it")
	}
	fmt.Printf(`
In another terminal:

  export KUBECONFIG=%s
  kubectl get es,ps,ss -A; kubectl get ces,css
  kubectl get secret shop -o go-template='{{.data.DATABASE_URL | base64decode}}{{"\n"}}'

Change a value in OpenBao, and see it arrive within 5 seconds, the refreshInterval:

  curl -sS -X POST -H "X-Vault-Token: %s" -d '{"data": {"user": "shop", "password": "second"}}' %s/v1/secret/data/shop/database
  kubectl get secret shop -o go-template='{{.data.DATABASE_URL | base64decode}}{{"\n"}}'

Do not wait for the interval, bring back what somebody deleted, lose and regain a ClusterSecretStore:

  kubectl annotate es shop external-secrets.io/force-sync=$(date +%%s) --overwrite
  kubectl delete secret shop && kubectl get secret shop
  kubectl label ns team-a secrets- && kubectl get es -n team-a
  kubectl label ns team-a secrets=shared && kubectl get es -n team-a

Change what is pushed, see it in OpenBao at once, and see it go with the PushSecret:

  kubectl create secret generic api-key --from-literal=key=rotated --dry-run=client -o yaml | kubectl apply -f -
  curl -sS -H "X-Vault-Token: %s" %s/v1/secret/data/pushed/api
  kubectl delete ps api-key
  curl -sS -H "X-Vault-Token: %s" %s/v1/secret/data/pushed/api

One object, many namespaces:

  kubectl create ns team-c && kubectl label ns team-c mail=yes && kubectl get es -A

A password that was made once; delete its Secret, and the same comes back; ask for another:

  kubectl get secret admin -o go-template='{{.data.password | base64decode}}{{"\n"}}'
  kubectl delete secret admin && kubectl get secret admin -o go-template='{{.data.password | base64decode}}{{"\n"}}'
  kubectl annotate es admin external-secrets.io/force-sync=$(date +%%s) --overwrite

The controller:

  tail -f %s
  curl -sS http://%s/metrics | grep externalsecret_

Ctrl-C stops everything.
`, d.plane.Kubeconfig(), d.bao.RootToken, d.bao.Address, d.bao.RootToken, d.bao.Address, d.bao.RootToken, d.bao.Address, c.log, c.metrics)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
