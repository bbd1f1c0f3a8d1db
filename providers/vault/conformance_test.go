package vault

import (
	"context"
	"testing"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/testenv/kvtest"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
)

func openAs(ctx context.Context, l kvtest.Login, env provider.Env) (provider.Store, error) {
	return Provider().Open(ctx, &esv1.VaultProvider{
		Server: l.Server, Path: &l.Path, Version: esv1.VaultKVStoreVersion(l.Version),
		Auth: &esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Path: l.Mount, Username: l.User, SecretRef: *ref(l.User, "password")}},
	}, env)
}

func TestConformanceOfKV1(t *testing.T) { providertest.Run(t, kvtest.V1(t, openAs)) }

func TestConformanceOfKV2(t *testing.T) { providertest.Run(t, kvtest.V2(t, openAs)) }
