// Package secretstore tells whether SecretStores and ClusterSecretStores can be
// used: it checks the manifest and the credential and reports both in the status.
//
// A store is checked when its manifest or a credential that it read changes, and on
// its interval. The check reads no value. It must not import a provider or another
// controller.
//
//	err := secretstore.Setup(mgr, secretstore.Config{Pool: pool, …})
package secretstore
