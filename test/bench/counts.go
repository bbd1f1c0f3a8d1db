package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// counters are the series of the controller that count calls, by name and labels.
type counters map[string]float64

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
		if !ok || !counted(name) {
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

func counted(name string) bool {
	for _, prefix := range []string{"keyferry_kubernetes_requests_total", "keyferry_store_reads_total", "externalsecret_provider_api_calls_count"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// print shows what was counted since before, and how much that is for each object.
func (c counters) print(what string, before counters, n int) {
	fmt.Printf("  calls, %s:\n", what)
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if d := c[name] - before[name]; d > 0 {
			fmt.Printf("    %-70s %8.0f  %6.3f per object\n", strings.TrimSuffix(name, "}")+"}", d, d/float64(n))
		}
	}
}

// usage prints the processor time and the most memory that the controller used.
func (p *process) usage(what string) {
	cpu, err := p.cpu()
	if err != nil {
		fmt.Println("  usage:", err)
		return
	}
	fmt.Printf("  controller, %s: processor %.2f s, peak memory %.0f MiB\n", what, cpu.Seconds(), p.peak())
}

// ticks is the kernel's unit of processor time: USER_HZ, 100 a second on Linux.
const ticks = 100

// cpu is the processor time of the controller, from /proc.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc: %d fields", len(fields))
	}
	var sum int64
	for _, text := range fields[11:13] { // utime and stime
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// peak is the most resident memory so far, in MiB; 0 if the kernel does not say.
func (p *process) peak() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				return 0
			}
			return kib / 1024
		}
	}
	return 0
}
