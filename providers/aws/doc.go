// Package aws reads and writes secrets of AWS: of Secrets Manager (the files sm_*.go) and
// of Systems Manager Parameter Store (ps_*.go).
//
// Who a store is at AWS, and what errors of AWS mean, is in internal/identity/aws. Reads
// are batched where the service can; a store whose policies do not allow the batched call
// finds out once and reads singly from then on. What is written is marked with the tag
// managed-by, and nothing without that tag is overwritten or deleted.
//
// It must not keep anything between two stores, nor look into values further than to
// compare them.
//
//	registry, err := provider.NewRegistry(aws.Provider())
package aws
