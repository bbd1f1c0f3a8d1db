package gcr

import (
	"cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/restapi"
)

func validate(spec *v1alpha1.GCRAccessTokenSpec) error {
	chosen := 0
	var wrong error
	if s := spec.Auth.SecretRef; s != nil {
		chosen++
		wrong = restapi.Selector(kind, keyField, s.SecretAccessKey.Name, s.SecretAccessKey.Key)
	}
	if w := spec.Auth.WorkloadIdentity; w != nil {
		chosen++
		wrong = cmp.Or(wrong, validateIdentity(w, spec.ProjectID))
	}
	if f := spec.Auth.WorkloadIdentityFederation; f != nil {
		chosen++
		wrong = cmp.Or(wrong, validateFederation(f))
	}
	if chosen != 1 {
		return restapi.Invalid(kind, "spec.auth", "must have exactly one of secretRef, workloadIdentity and workloadIdentityFederation: the controller's own identity is not used")
	}
	return wrong
}

func validateIdentity(w *v1alpha1.GCPWorkloadIdentity, project string) error {
	const field = "spec.auth.workloadIdentity."
	return cmp.Or(
		restapi.Required(kind, accountField+".name", w.ServiceAccountRef.Name, "name a service account"),
		restapi.Required(kind, field+"clusterLocation", w.ClusterLocation, "set it to the region or zone of the cluster"),
		restapi.Required(kind, field+"clusterName", w.ClusterName, "set it to the name of the cluster"),
		restapi.Required(kind, field+"clusterProjectID", cmp.Or(w.ClusterProjectID, project), "set it, or spec.projectID, to the project of the cluster"),
	)
}

func validateFederation(f *v1alpha1.GCPWorkloadIdentityFederation) error {
	chosen := 0
	for _, is := range []bool{f.CredConfig != nil, f.ServiceAccountRef != nil, f.AwsSecurityCredentials != nil} {
		if is {
			chosen++
		}
	}
	if chosen != 1 {
		return restapi.Invalid(kind, federationField, "must have exactly one of credConfig, serviceAccountRef and awsSecurityCredentials")
	}
	if f.CredConfig != nil {
		return restapi.Selector(kind, configField, f.CredConfig.Name, f.CredConfig.Key)
	}
	wrong := restapi.Required(kind, federationField+".audience", f.Audience, "set it to the provider of the workload identity pool")
	if f.ServiceAccountRef != nil {
		return cmp.Or(wrong, restapi.Required(kind, federatedAccount+".name", f.ServiceAccountRef.Name, "name a service account"))
	}
	return cmp.Or(
		wrong,
		restapi.Required(kind, federationField+".awsSecurityCredentials.region", f.AwsSecurityCredentials.Region, "set it to a region of AWS"),
		restapi.Required(kind, awsField+".name", f.AwsSecurityCredentials.AwsCredentialsSecretRef.Name, "name a Secret"),
	)
}
