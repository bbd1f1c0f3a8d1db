// Package rotation keeps what generators have made for those that use it: ExternalSecrets
// and PushSecrets get the same values again until it is time for others.
//
// A Finder resolves the generators that objects name and watches their kinds; a Keeper
// holds values in memory, and what has to be ended or extended some day as a
// GeneratorState. When values are replaced is decided by who uses them; that a
// retry, a repair or another part of the spec makes no new ones is decided here. Values
// never leave the process but to who asked for them.
//
//	from, err := finder.Get(ctx, namespace, ref)
//	values, err := keeper.Values(ctx, rotation.Request{Owner: es, Key: "Password/strong#0", From: from, At: now})
//	// … write the target …
//	err = keeper.Commit(ctx, es, "Password/strong#0")
package rotation
