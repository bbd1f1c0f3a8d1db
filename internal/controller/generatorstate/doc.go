// Package generatorstate ends what generators have left behind elsewhere once nobody
// needs it any more: a GeneratorState whose deadline has passed is deleted, and one that
// is being deleted goes when its generator has ended what it names.
//
// It reads the generator from the state itself, so that the manifest may be gone. It
// must not import a generator or another controller.
//
//	err := generatorstate.Setup(mgr, live, generatorstate.Config{Pool: pool, …})
package generatorstate
