// Package crds carries the CustomResourceDefinitions of Keyferry in the binary, for
// whoever starts a control plane of its own: the tests, the demo, the benchmarks.
//
// The YAML files are generated from api/ by hack/gen and must not be edited. On a
// cluster of your own they are installed by kubectl or Helm, never by the program.
//
//	definitions, err := crds.All()
package crds
