// Package httpx is the one HTTP transport: every provider that speaks HTTP gets
// its client here, and with it TLS 1.2 or later, the egress policy, the proxy of
// the environment, timeouts, a limit on bodies and no redirects.
//
// The egress policy is enforced on the resolved address when the connection is
// made, so that a name which changes its address between two look-ups gains
// nothing. It must not know a backend, and it must not print a URL: paths and
// queries can hold credentials, so errors name scheme, host and port alone.
//
//	clients := httpx.New(httpx.Policy{}, httpx.Options{Version: "1.0.0"})
//	client, err := clients.Client(provider.TLS{CA: pem})
//	resp, err := client.Do(req)
//	if err != nil {
//		return httpx.Classify(err)
//	}
//	if err := httpx.Status(resp, clock.Now()); err != nil {
//		return err
//	}
//	body, err := httpx.ReadBody(resp)
package httpx
