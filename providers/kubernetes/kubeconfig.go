package kubernetes

import (
	"context"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const authRef = root + "authRef"

// fromKubeconfig takes server and user of the current context. A tenant writes the
// kubeconfig and this process reads it: what would run a program, read a file, act
// as somebody else or trust any server is refused.
func fromKubeconfig(ctx context.Context, ref esmeta.SecretKeySelector, env provider.Env) (t target, err error) {
	content, err := credential(ctx, ref, "authRef", env)
	if err != nil {
		return t, err
	}
	config, err := clientcmd.Load(content.Reveal())
	if err != nil { // its text quotes the input
		return t, invalid("%s: the value is no kubeconfig", authRef)
	}
	cluster, user, err := chosen(config)
	if err != nil {
		return t, err
	}
	if t.server, err = serverURL(cluster.Server, authRef+": the kubeconfig's server"); err != nil {
		return t, err
	}
	t.tls = provider.TLS{CA: cluster.CertificateAuthorityData, ServerName: cluster.TLSServerName}
	if len(user.ClientCertificateData) > 0 {
		t.tls.Cert, t.tls.Key = user.ClientCertificateData, secret.New(user.ClientKeyData)
	}
	if user.Token != "" {
		t.token, err = constant(secret.FromString(user.Token), authRef+": the kubeconfig's token")
	}
	return t, err
}

// chosen returns what the current context names, if nothing of it is refused.
func chosen(config *api.Config) (*api.Cluster, *api.AuthInfo, error) {
	current := config.Contexts[config.CurrentContext]
	if current == nil {
		return nil, nil, invalid("%s: the kubeconfig has no context that current-context names", authRef)
	}
	cluster, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	if cluster == nil || user == nil {
		return nil, nil, invalid("%s: the kubeconfig lacks the cluster or the user of its current context", authRef)
	}
	if err := refuseCluster(cluster); err != nil {
		return nil, nil, err
	}
	return cluster, user, refuseUser(user)
}

func refuseCluster(c *api.Cluster) error {
	switch {
	case c.Server == "":
		return invalid("%s: the kubeconfig's cluster has no server", authRef)
	case c.InsecureSkipTLSVerify:
		return invalid("%s: the kubeconfig has insecure-skip-tls-verify: use certificate-authority-data", authRef)
	case c.CertificateAuthority != "":
		return invalid("%s: the kubeconfig has certificate-authority, a file: use certificate-authority-data", authRef)
	case c.ProxyURL != "":
		return invalid("%s: the kubeconfig has proxy-url: the proxy is that of this process", authRef)
	}
	return nil
}

func refuseUser(u *api.AuthInfo) error {
	for _, c := range []struct {
		bad bool
		why string
	}{
		{u.Exec != nil, "has exec, a program: use token or client-certificate-data"},
		{u.AuthProvider != nil, "has auth-provider: use token or client-certificate-data"},
		{u.TokenFile != "", "has tokenFile: use token"},
		{u.ClientCertificate != "", "has client-certificate, a file: use client-certificate-data"},
		{u.ClientKey != "", "has client-key, a file: use client-key-data"},
		{u.Username != "" || u.Password != "", "has username or password, which API servers do not take: use token or client-certificate-data"},
		{u.Impersonate != "" || u.ImpersonateUID != "", "has as or as-uid: use the credential of that user"},
		{len(u.ImpersonateGroups) > 0 || len(u.ImpersonateUserExtra) > 0, "has as-groups or as-user-extra: use the credential of that user"},
		{len(u.ClientCertificateData) > 0 && len(u.ClientKeyData) == 0, "has client-certificate-data without client-key-data"},
		{u.Token == "" && len(u.ClientCertificateData) == 0, "has a user with neither token nor client-certificate-data"},
	} {
		if c.bad {
			return invalid("%s: the kubeconfig %s", authRef, c.why)
		}
	}
	return nil
}
