package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	etcdName      = "etcd"
	apiserverName = "kube-apiserver"
	kcmName       = "kube-controller-manager"

	adminFile = "admin.kubeconfig"
	kcmFile   = "controller-manager.kubeconfig"
)

// controllers are those that a test of a controller or its permissions can meet:
// there are no nodes, pods or volumes to look after.
func controllers() []string {
	return []string{
		"clusterrole-aggregation-controller",
		"garbage-collector-controller",
		"legacy-serviceaccount-token-cleaner-controller",
		"namespace-controller",
		"resourcequota-controller",
		"root-ca-certificate-publisher-controller",
		"serviceaccount-controller",
		"serviceaccount-token-controller",
		"validatingadmissionpolicy-status-controller",
	}
}

// files are what the components and their clients need, by path.
type files struct{ dir string }

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

// write makes all certificates and keys, and the kubeconfigs for the server.
func (f files) write(server string) error {
	ca, err := newAuthority(f.dir)
	if err != nil {
		return err
	}
	certificates := map[string]pkix.Name{
		"etcd":               {CommonName: "etcd"},
		"etcd-client":        {CommonName: "kube-apiserver"},
		"apiserver":          {CommonName: "kube-apiserver"},
		"admin":              {CommonName: "admin", Organization: []string{"system:masters"}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
	}
	for name, subject := range certificates {
		if err := ca.issue(name, subject); err != nil {
			return err
		}
	}
	if _, err := newKey(f.path("service-accounts.key")); err != nil {
		return err
	}
	if err := f.kubeconfig(adminFile, "admin", server); err != nil {
		return err
	}
	return f.kubeconfig(kcmFile, "controller-manager", server)
}

// kubeconfig writes a self-contained kubeconfig for the certificate NAME.
func (f files) kubeconfig(file, name, server string) error {
	cluster := clientcmdapi.Cluster{Server: server}
	user := clientcmdapi.AuthInfo{}
	for from, to := range map[string]*[]byte{
		"ca.crt":      &cluster.CertificateAuthorityData,
		name + ".crt": &user.ClientCertificateData,
		name + ".key": &user.ClientKeyData,
	} {
		b, err := os.ReadFile(f.path(from))
		if err != nil {
			return err
		}
		*to = b
	}
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": &cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: &user},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: name}},
		CurrentContext: "test",
	}, f.path(file))
}

// client returns a client with the administrator's certificate, which all three
// components accept.
func (f files) client() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(f.path("admin.crt"), f.path("admin.key"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(f.path("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", f.path("ca.crt"))
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}, nil
}

// ports are where the components listen.
type ports struct{ etcd, peer, apiserver, kcm int }

func reservePorts() (ports, error) {
	var p ports
	for _, port := range []*int{&p.etcd, &p.peer, &p.apiserver, &p.kcm} {
		var err error
		if *port, err = reservePort(); err != nil {
			return ports{}, err
		}
	}
	return p, nil
}

func url(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }

func (f files) etcd(p ports) *child {
	return &child{name: etcdName, health: url(p.etcd) + "/health", log: f.path("etcd.log"), args: []string{
		"--name=test",
		"--data-dir=" + f.path("etcd"),
		"--listen-client-urls=" + url(p.etcd),
		"--advertise-client-urls=" + url(p.etcd),
		"--listen-peer-urls=" + url(p.peer),
		"--initial-advertise-peer-urls=" + url(p.peer),
		"--initial-cluster=test=" + url(p.peer),
		"--socket-reuse-port=true",
		"--cert-file=" + f.path("etcd.crt"), "--key-file=" + f.path("etcd.key"),
		"--trusted-ca-file=" + f.path("ca.crt"), "--client-cert-auth=true",
		"--peer-cert-file=" + f.path("etcd.crt"), "--peer-key-file=" + f.path("etcd.key"),
		"--peer-trusted-ca-file=" + f.path("ca.crt"), "--peer-client-cert-auth=true",
		"--unsafe-no-fsync=true",
		"--log-level=warn",
	}}
}

func (f files) apiserver(p ports) *child {
	return &child{name: apiserverName, health: url(p.apiserver) + "/readyz", log: f.path("apiserver.log"), args: []string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", p.apiserver),
		"--permit-port-sharing=true",
		"--endpoint-reconciler-type=none",
		"--etcd-servers=" + url(p.etcd),
		"--etcd-cafile=" + f.path("ca.crt"),
		"--etcd-certfile=" + f.path("etcd-client.crt"), "--etcd-keyfile=" + f.path("etcd-client.key"),
		"--tls-cert-file=" + f.path("apiserver.crt"), "--tls-private-key-file=" + f.path("apiserver.key"),
		"--client-ca-file=" + f.path("ca.crt"),
		"--anonymous-auth=false",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + f.path("service-accounts.key"),
		"--service-account-key-file=" + f.path("service-accounts.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--profiling=false",
	}}
}

func (f files) controllerManager(p ports) *child {
	return &child{name: kcmName, health: url(p.kcm) + "/healthz", log: f.path("controller-manager.log"), args: []string{
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", p.kcm),
		"--permit-port-sharing=true",
		"--tls-cert-file=" + f.path("apiserver.crt"), "--tls-private-key-file=" + f.path("apiserver.key"),
		"--kubeconfig=" + f.path(kcmFile),
		"--authentication-kubeconfig=" + f.path(kcmFile),
		"--authorization-kubeconfig=" + f.path(kcmFile),
		"--client-ca-file=" + f.path("ca.crt"),
		"--root-ca-file=" + f.path("ca.crt"),
		"--service-account-private-key-file=" + f.path("service-accounts.key"),
		"--use-service-account-credentials=true",
		"--controllers=" + strings.Join(controllers(), ","),
		"--leader-elect=false",
		"--profiling=false",
	}}
}
