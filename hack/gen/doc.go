// Command gen writes what is generated from the types in api/: their deepcopy
// functions, the CustomResourceDefinitions in config/crds, and the tables of fields
// in docs/spec, docs/provider and docs/generator. It runs from the root of the
// repository:
//
//	go run ./hack/gen
//
// It computes every file before it writes the first, and writes only those that
// change, so that a second run does nothing. Its test fails when a file is stale.
// It must not hold knowledge of its own about the API: what a field may hold is
// said by the markers beside it.
package main
