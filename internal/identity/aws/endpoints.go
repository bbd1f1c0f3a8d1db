package awsidentity

import (
	"fmt"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
)

// Endpoints are the addresses of services that an administrator names instead of those
// of AWS. The zero value has none. Nil leaves a service where it is, which is what the
// BaseEndpoint of a client wants.
type Endpoints struct {
	SecretsManager, SSM, STS, ECR, ECRPublic *string

	sources []any
}

// variables are the names of the environment variables, in the words of ESO.
func (e *Endpoints) variables() map[string]**string {
	return map[string]**string{
		"AWS_SECRETSMANAGER_ENDPOINT": &e.SecretsManager,
		"AWS_SSM_ENDPOINT":            &e.SSM,
		"AWS_STS_ENDPOINT":            &e.STS,
		"AWS_ECR_ENDPOINT":            &e.ECR,
		"AWS_ECR_PUBLIC_ENDPOINT":     &e.ECRPublic,
	}
}

// EndpointsFromEnv reads the process environment: ESO's variables, such as
// AWS_STS_ENDPOINT, and the SDK's own for endpoints (AWS_ENDPOINT_URL and those of
// services, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT). It reads no credential.
func EndpointsFromEnv() Endpoints {
	var e Endpoints
	for name, at := range e.variables() {
		if v := os.Getenv(name); v != "" {
			*at = &v
		}
	}
	// What it cannot read is what it says nothing about: then the SDK's defaults hold.
	if all, err := config.NewEnvConfig(); err == nil {
		e.sources = []any{config.EnvConfig{
			BaseEndpoint: all.BaseEndpoint, UseFIPSEndpoint: all.UseFIPSEndpoint, UseDualStackEndpoint: all.UseDualStackEndpoint,
		}}
	}
	return e
}

// check fails for an address that is none, and names its variable.
func (e Endpoints) check() error {
	for name, at := range e.variables() {
		if *at == nil {
			continue
		}
		u, err := url.Parse(**at)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			return fmt.Errorf("the environment variable %s is no address: it is like https://host:443", name)
		}
	}
	return nil
}

// any reports whether a service is somewhere else than at AWS: regions have other
// names there.
func (e Endpoints) any() bool {
	for _, at := range e.variables() {
		if *at != nil {
			return true
		}
	}
	for _, source := range e.sources {
		if env, ok := source.(config.EnvConfig); ok && env.BaseEndpoint != "" {
			return true
		}
	}
	return false
}
