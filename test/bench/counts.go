package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// counters are the series of the controller that count calls, by name and labels.
type counters map[string]float64

// The metrics that count calls.
const (
	kubernetesCalls = "keyferry_kubernetes_requests_total"
	storeCalls      = "externalsecret_provider_api_calls_count"
	storeReads      = "keyferry_store_reads_total"
)

// counts reads the controller's metrics.
func (p *process) counts(ctx context.Context) (counters, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return parse(resp.Body)
}

func parse(r io.Reader) (counters, error) {
	out := counters{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		metric, _, _ := strings.Cut(name, "{")
		if !ok || !slices.Contains([]string{kubernetesCalls, storeCalls, storeReads}, metric) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, lines.Err()
}

// sum adds up the series of a metric that have all of these labels, such as verb="list".
func (c counters) sum(metric string, labels ...string) float64 {
	var out float64
	for name, v := range c {
		if strings.HasPrefix(name, metric+"{") && !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(name, l) }) {
			out += v
		}
	}
	return out
}

// since is what was counted after before.
func (c counters) since(before counters) counters {
	out := counters{}
	for name, v := range c {
		if d := v - before[name]; d > 0 {
			out[name] = d
		}
	}
	return out
}

// print shows what was counted since before, and how much that is for each object.
func (c counters) print(what string, before counters, n int) {
	fmt.Printf("  calls, %s:\n", what)
	d := c.since(before)
	for _, name := range slices.Sorted(maps.Keys(d)) {
		fmt.Printf("    %-70s %8.0f  %6.3f per object\n", name+"}", d[name], d[name]/float64(n))
	}
}
