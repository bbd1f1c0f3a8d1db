package awstest

import (
	"encoding/base64"
	"time"
)

// RegistryToken is what the registries' tokens hold: user and password.
const RegistryToken = "AWS:registry-password-0815"

const registryLife = 12 * time.Hour

func (s *Server) registries() map[string]action {
	token := func() map[string]any {
		return map[string]any{
			"authorizationToken": base64.StdEncoding.EncodeToString([]byte(RegistryToken)),
			"expiresAt":          float64(s.clock.Now().Add(registryLife).Unix()),
		}
	}
	return map[string]action{
		"ecr:GetAuthorizationToken": on(func(_ *request, _ struct {
			RegistryIDs []string `json:"registryIds"`
		},
		) (any, error) {
			data := token()
			data["proxyEndpoint"] = "https://" + Account + ".dkr.ecr." + Region + ".amazonaws.com"
			return map[string]any{"authorizationData": []any{data}}, nil
		}),
		"ecr-public:GetAuthorizationToken": on(func(_ *request, _ struct{}) (any, error) {
			return map[string]any{"authorizationData": token()}, nil
		}),
	}
}
