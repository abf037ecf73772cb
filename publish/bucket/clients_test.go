package bucket_test

import (
	"net/http"
	"testing"

	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
)

type closing struct{ http.RoundTripper }

func (c closing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Close = true
	return c.RoundTripper.RoundTrip(r)
}

func clients(t *testing.T, options ...cloud.Option) *cloud.Clients {
	return mototest.Start(t, append([]cloud.Option{cloud.WithHTTP(func(rt http.RoundTripper) http.RoundTripper { return closing{rt} })}, options...)...)
}
