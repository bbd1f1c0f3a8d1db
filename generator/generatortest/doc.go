// Package generatortest is the conformance suite that every generator passes.
//
// The suite knows no service. A Harness says how a spec looks for each situation of the
// service, which values come of it, and how to look behind the generator at what is
// left there. Every call gets an Env of its own that notices when it is used for
// another call, and that can make any single request fail. Every error, log line and
// state is searched for the values and credentials that were in play. The suite must
// not be made lenient for one generator: one that does not pass breaks a promise of
// package generator.
//
// A generator that asks nobody but the process is Local and needs three lines:
//
//	generatortest.Run(t, generatortest.Harness{
//		Env: providertest.NewEnv(t), Generator: uuid.Generator(), Local: true, Secret: []string{"uuid"},
//		Spec:    func(providertest.Situation) any { return &v1alpha1.UUIDSpec{} },
//		Without: map[string]string{"spec/invalid": "the spec has no fields"},
//	})
package generatortest
