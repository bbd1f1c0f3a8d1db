// Package conditions says in kstatus terms how an object is: Ready, and beside it
// Reconciling while something is still under way or Stalled when nothing will
// happen before somebody changes something.
//
// It is pure: the time is a parameter, and the conditions of other types are kept.
//
//	list = conditions.Set(list, conditions.Failed(reason, message, stuck), now)
package conditions
