package awstest

import (
	"bytes"
	"encoding/json"
	"slices"
)

func (s *Server) putSecretValue(_ *request, in struct {
	SecretId, ClientRequestToken string
	content
	VersionStages []string
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if len(in.VersionStages) == 0 {
		in.VersionStages = []string{current}
	}
	v, err := s.put(stored, in.ClientRequestToken, in.content, in.VersionStages)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name, "VersionId": v.ID, "VersionStages": v.Stages}, nil
}

// put adds a version. The same content under the same token is the same version.
func (s *Server) put(stored *storedSecret, id string, c content, stages []string) (*Version, error) {
	if err := token(id); err != nil {
		return nil, err
	}
	next, err := c.version(id, s.now())
	if err != nil {
		return nil, err
	}
	if old := stored.version(func(v Version) bool { return v.ID == id }); old != nil {
		if !bytes.Equal(old.Value, next.Value) {
			return nil, refuse("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use.", id)
		}
		return old, nil
	}
	stored.add(next, stages)
	return stored.version(func(v Version) bool { return v.ID == id }), nil
}

func (s *Server) updateSecret(_ *request, in struct {
	SecretId, ClientRequestToken string
	Description, KmsKeyId        *string
	content
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if !in.empty() {
		if _, err := s.put(stored, in.ClientRequestToken, in.content, []string{current}); err != nil {
			return nil, err
		}
	}
	if in.Description != nil {
		stored.Description = *in.Description
	}
	if in.KmsKeyId != nil {
		stored.KMSKeyID = *in.KmsKeyId
	}
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name}, nil
}

func (s *Server) updateStage(_ *request, in struct {
	SecretId, VersionStage, RemoveFromVersionId, MoveToVersionId string
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	holder := stored.version(func(v Version) bool { return slices.Contains(v.Stages, in.VersionStage) })
	target := stored.version(func(v Version) bool { return v.ID == in.MoveToVersionId })
	switch {
	case in.VersionStage == "":
		return nil, refuse("ValidationException", "VersionStage is required")
	case in.MoveToVersionId != "" && target == nil:
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret version.")
	case holder != nil && holder.ID != in.RemoveFromVersionId && holder.ID != in.MoveToVersionId,
		holder == nil && in.RemoveFromVersionId != "":
		return nil, refuse("InvalidParameterException", "The parameter RemoveFromVersionId is not the version that the staging label %s is attached to.", in.VersionStage)
	}
	if target != nil {
		stored.move(in.VersionStage, target.ID)
	} else if holder != nil {
		holder.Stages = slices.DeleteFunc(slices.Clone(holder.Stages), func(has string) bool { return has == in.VersionStage })
	}
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name}, nil
}

func (s *Server) tagSecret(_ *request, in struct {
	SecretId string
	Tags     []tag
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, refuse("ValidationException", "Tags is required")
	}
	if stored.Tags == nil {
		stored.Tags = map[string]string{}
	}
	for _, t := range in.Tags {
		stored.Tags[t.Key] = t.Value
	}
	return map[string]any{}, nil
}

func (s *Server) untagSecret(_ *request, in struct {
	SecretId string
	TagKeys  []string
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	for _, key := range in.TagKeys {
		delete(stored.Tags, key)
	}
	return map[string]any{}, nil
}

func (s *Server) deleteSecret(_ *request, in struct {
	SecretId                   string
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery *bool
},
) (any, error) {
	force := in.ForceDeleteWithoutRecovery != nil && *in.ForceDeleteWithoutRecovery
	if force && in.RecoveryWindowInDays != nil || in.RecoveryWindowInDays != nil && (*in.RecoveryWindowInDays < 7 || *in.RecoveryWindowInDays > 30) {
		return nil, refuse("InvalidParameterException", "a recovery window of 7 to 30 days, or force, and not both")
	}
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if len(stored.Replicas) > 0 {
		return nil, refuse("InvalidRequestException", "You can't delete secret that still has replica regions.")
	}
	if force {
		delete(s.secrets, stored.Name)
	} else {
		stored.Deleted, stored.Window = true, 30
		if in.RecoveryWindowInDays != nil {
			stored.Window = *in.RecoveryWindowInDays
		}
	}
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name, "DeletionDate": s.now()}, nil
}

func (s *Server) restoreSecret(_ *request, in secretID) (any, error) {
	stored, err := s.find(in.SecretId)
	if err != nil {
		return nil, err
	}
	stored.Deleted = false
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name}, nil
}

func (s *Server) getPolicy(_ *request, in secretID) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"ARN": stored.ARN, "Name": stored.Name}
	if stored.Policy != "" {
		out["ResourcePolicy"] = stored.Policy
	}
	return out, nil
}

func (s *Server) putPolicy(_ *request, in struct {
	SecretId, ResourcePolicy string
	BlockPublicPolicy        bool
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if !json.Valid([]byte(in.ResourcePolicy)) {
		return nil, refuse("MalformedPolicyDocumentException", "This resource policy contains a syntax error")
	}
	stored.Policy, stored.BlockPublic = in.ResourcePolicy, in.BlockPublicPolicy
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name}, nil
}

func (s *Server) deletePolicy(_ *request, in secretID) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	stored.Policy = ""
	return map[string]any{"ARN": stored.ARN, "Name": stored.Name}, nil
}

func (s *Server) replicate(_ *request, in struct {
	SecretId                    string
	AddReplicaRegions           []replica
	ForceOverwriteReplicaSecret bool
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if len(in.AddReplicaRegions) == 0 {
		return nil, refuse("ValidationException", "AddReplicaRegions is required")
	}
	for _, r := range in.AddReplicaRegions {
		if r.Region == Region || slices.Contains(stored.Replicas, r.Region) {
			return nil, refuse("InvalidParameterException", "Invalid replica region.")
		}
		stored.Replicas = append(stored.Replicas, r.Region)
	}
	return map[string]any{"ARN": stored.ARN}, nil
}

func (s *Server) unreplicate(_ *request, in struct {
	SecretId             string
	RemoveReplicaRegions []string
},
) (any, error) {
	stored, err := s.alive(in.SecretId)
	if err != nil {
		return nil, err
	}
	if len(in.RemoveReplicaRegions) == 0 {
		return nil, refuse("ValidationException", "RemoveReplicaRegions is required")
	}
	stored.Replicas = slices.DeleteFunc(slices.Clone(stored.Replicas), func(r string) bool { return slices.Contains(in.RemoveReplicaRegions, r) })
	return map[string]any{"ARN": stored.ARN}, nil
}
