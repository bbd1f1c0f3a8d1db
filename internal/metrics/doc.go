// Package metrics counts what the controllers and the funnel do, under the names
// that External Secrets Operator gives its metrics; durations are histograms in
// seconds.
//
// What is counted per object lives and ends with the object and is turned into
// series when it is scraped, so that ten thousand objects cost little. No label
// ever holds a value.
//
//	m := metrics.New(registry, metrics.Options{})
//	m.ExternalSecrets.Synced(key, nil)
package metrics
