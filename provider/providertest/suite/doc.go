// Package suite is what the conformance suites have in common: how a check judges an
// error and searches texts for secrets, how it ends a call that hangs, what a harness is
// excused from, and how a suite itself is tried on something that breaks its contract.
//
// It must not know what is held to a contract: that is in packages providertest and
// generatortest, and nobody else needs this one.
//
//	heard := suite.Listen(t)
//	j := suite.Judge{T: t, Mark: "canary", Secrets: env.Handed}
//	j.Failed("read while down", read(ctx), secret.Unavailable)
//	j.Clean("the log", heard.Take())
package suite
