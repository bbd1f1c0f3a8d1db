// Package check holds the conditions of any object to what kstatus and people
// expect of them. It is for tests of all controllers, and nothing of the product
// imports it.
//
// It knows no kind of object and asserts no particular reason or text: a test that
// wants a certain outcome compares that itself.
//
//	check.Conditions(t, conditionsOf(es))
package check
