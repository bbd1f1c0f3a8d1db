package providertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"
)

// Serve brings about what a network can, Good, Throttled, Down and Hanging: it has start
// start servers for the handler of each, good for the first, and closes them with the test.
// Throttled answers ask for retryAfter, and faults have a body that holds Mark. What it
// returns gets a value whenever a request hangs.
func Serve(t T, good http.Handler, retryAfter time.Duration, start func(Situation, http.Handler) []*httptest.Server) (reached <-chan struct{}) {
	t.Helper()
	fail := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if status == http.StatusTooManyRequests && retryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"errors":[%[1]q],"message":%[1]q,"error_description":%[1]q}`, Mark)
		})
	}
	hung, over := make(chan struct{}, 1), make(chan struct{})
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case hung <- struct{}{}:
		default:
		}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	var servers []*httptest.Server
	for situation, handler := range map[Situation]http.Handler{
		Good: good, Throttled: fail(http.StatusTooManyRequests), Down: fail(http.StatusServiceUnavailable), Hanging: hang,
	} {
		servers = append(servers, start(situation, handler)...)
	}
	t.Cleanup(func() {
		close(over)
		var group sync.WaitGroup
		for _, s := range servers {
			group.Go(func() {
				s.CloseClientConnections()
				s.Close()
			})
		}
		group.Wait()
	})
	return hung
}
