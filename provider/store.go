package provider

import (
	"context"
	"io"
	"iter"

	"github.com/keyferry/keyferry/secret"
)

// Store is an open, authenticated connection to a backend. What it can do is what
// other interfaces of this package it implements. Close ends its sessions (a login
// is revoked) and may be called once.
type Store interface{ io.Closer }

// Reader reads one secret.
type Reader interface {
	// Get returns the secret at ref: its current version if ref names none. It
	// fails with NotFound if there is none, also for one that is deleted.
	Get(ctx context.Context, ref secret.Ref) (secret.Secret, error)
}

// Batcher reads many secrets with one call. A store that is a Batcher is a Reader too.
type Batcher interface {
	// GetBatch returns one result for each of refs, in their order. The error is
	// for the call as a whole. The store splits a batch that is too large for its
	// backend.
	GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error)
}

// Lister finds secrets.
type Lister interface {
	// List yields everything below q.Path that carries all of q.Tags, through all
	// pages. It may yield names that q.Name does not match: the caller filters by
	// name. It stops at the first error, and when the caller does.
	List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error]
}

// Checker tells whether the credentials work.
type Checker interface {
	// Check reads no value. It fails with Unauthenticated or Denied if the
	// credentials do not work, and with Unsupported if that cannot be told.
	Check(ctx context.Context) error
}

// Access is what the stores of a provider can do, in ESO's words for
// status.capabilities.
type Access string

// The values of Access.
const (
	ReadOnly  Access = "ReadOnly"
	WriteOnly Access = "WriteOnly"
	ReadWrite Access = "ReadWrite"
)
