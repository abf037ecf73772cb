package edge

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"
)

// sandbox runs a function as CloudFront does: the event's form
// (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-event-structure.html),
// `import cf from 'cloudfront'` with a store whose get rejects what is missing,
// no other module, no clock but the run's own limit. It is strict: a forbidden
// call or an answer that CloudFront would turn into a 502 fails the test.
type sandbox struct {
	t     testing.TB
	vm    *goja.Runtime
	store Pairs
	fails bool     // every read of the store fails
	reads []string // of the last run
}

const (
	importLine = "import cf from 'cloudfront';"
	storeID    = "5f2c0f3a-0000-4000-8000-000000000000"
)

func newSandbox(t testing.TB, host Host) *sandbox {
	t.Helper()
	source, err := Function(host)
	if err != nil {
		t.Fatal(err)
	}
	// goja knows no modules: the one import that CloudFront has becomes a global.
	code := strings.ReplaceAll(string(source), "STORE_ID", storeID)
	if strings.Count(code, importLine) != 1 || strings.Count(code, "import") != 1 {
		t.Fatalf("want one import, %q", importLine)
	}
	s := &sandbox{t: t, vm: goja.New(), store: Pairs{}}
	s.vm.SetMaxCallStackSize(64)
	if err := s.vm.Set("cf", map[string]any{"kvs": s.kvs}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.vm.RunScript(string(host)+".js", strings.Replace(code, importLine, "", 1)); err != nil {
		t.Fatalf("%s.js: %v", host, err)
	}
	return s
}

func (s *sandbox) kvs(id string) map[string]any {
	if id != storeID {
		s.t.Errorf("the function opens store %q", id)
	}
	refuse := func(name string) func() {
		return func() { s.t.Errorf("the function calls %s, which costs more than a look", name) }
	}
	return map[string]any{"get": s.get, "exists": refuse("exists"), "count": refuse("count"), "meta": refuse("meta")}
}

func (s *sandbox) get(key string) *goja.Promise {
	s.reads = append(s.reads, key)
	promise, resolve, reject := s.vm.NewPromise()
	value, ok := s.store[key]
	switch {
	case len(key) > 512:
		s.t.Errorf("key of %d bytes", len(key))
		fallthrough
	case s.fails || !ok:
		if err := reject(s.vm.NewGoError(errors.New("KeyNotFound"))); err != nil {
			s.t.Error(err)
		}
	default:
		if err := resolve(value); err != nil {
			s.t.Error(err)
		}
	}
	return promise
}

// request is what a viewer sends, as a case of the table has it.
type request struct {
	Method  string `json:"method"`
	Path    string `json:"path"` // with its query
	IP      string `json:"ip"`
	Country string `json:"country"`
	Agent   string `json:"agent"`
	Cookie  string `json:"cookie"`
}

// response is what the edge makes of it: the request that goes on, or an answer.
type response struct {
	Status int    `json:"status"`
	URI    string `json:"uri"` // of the request that goes on; Status is 0 then
	Allow  string `json:"allow"`
	Retry  string `json:"retry"`
	Type   string `json:"type"`
	Body   string `json:"body"`
}

func event(r request) map[string]any {
	path, query, _ := strings.Cut(r.Path, "?")
	headers := map[string]any{"host": map[string]any{"value": "any.example.org"}}
	for name, value := range map[string]string{"user-agent": r.Agent, "cloudfront-viewer-country": r.Country} {
		if value != "" {
			headers[name] = map[string]any{"value": value}
		}
	}
	querystring, cookies := map[string]any{}, map[string]any{}
	if values, err := url.ParseQuery(query); err == nil {
		for name, value := range values {
			querystring[name] = map[string]any{"value": value[0]}
		}
	}
	for one := range strings.SplitSeq(r.Cookie, "; ") {
		if name, value, ok := strings.Cut(one, "="); ok {
			cookies[name] = map[string]any{"value": value}
		}
	}
	ip := r.IP
	if ip == "" {
		ip = "192.0.2.200"
	}
	return map[string]any{
		"version": "1.0",
		"context": map[string]any{"eventType": "viewer-request", "distributionDomainName": "d111111abcdef8.cloudfront.net"},
		"viewer":  map[string]any{"ip": ip},
		"request": map[string]any{"method": r.Method, "uri": path, "querystring": querystring, "headers": headers, "cookies": cookies},
	}
}

// run gives a request to the function. An answer's form is checked here.
func (s *sandbox) run(r request) (response, error) {
	s.reads = s.reads[:0]
	handler, ok := goja.AssertFunction(s.vm.Get("handler"))
	if !ok {
		return response{}, errors.New("there is no handler")
	}
	limit := time.AfterFunc(10*time.Second, func() { s.vm.Interrupt("does not end") })
	defer limit.Stop()
	sent := event(r)
	value, err := handler(goja.Undefined(), s.vm.ToValue(sent))
	if err != nil {
		return response{}, err
	}
	promise, ok := value.Export().(*goja.Promise)
	if !ok {
		return response{}, errors.New("the handler returns no promise")
	}
	if promise.State() != goja.PromiseStateFulfilled {
		return response{}, fmt.Errorf("the handler throws: %v", promise.Result())
	}
	out, ok := promise.Result().Export().(map[string]any)
	if !ok {
		return response{}, errors.New("the handler returns no object")
	}
	if _, answered := out["statusCode"]; answered {
		return s.answer(r, out)
	}
	return s.passed(r, sent, out)
}

// passed reads a request that goes on. Only what is in the cache key may differ.
func (s *sandbox) passed(r request, sent, out map[string]any) (response, error) {
	if out["method"] != r.Method {
		return response{}, fmt.Errorf("method becomes %v", out["method"])
	}
	for _, name := range []string{"querystring", "cookies"} {
		if m, ok := out[name].(map[string]any); !ok || len(m) != 0 {
			return response{}, fmt.Errorf("%s goes on: %v", name, out[name])
		}
	}
	uri, ok := out["uri"].(string)
	if !ok || !strings.HasPrefix(uri, "/") {
		return response{}, fmt.Errorf("uri %v", out["uri"])
	}
	return response{URI: uri}, nil
}

func (s *sandbox) answer(r request, out map[string]any) (response, error) {
	status, ok := out["statusCode"].(int64)
	if !ok || status < 200 || status > 599 {
		return response{}, fmt.Errorf("status %v", out["statusCode"])
	}
	headers, ok := out["headers"].(map[string]any)
	if !ok {
		return response{}, errors.New("an answer without headers")
	}
	text := map[string]string{}
	for name, h := range headers {
		value, ok := h.(map[string]any)["value"].(string)
		if !ok || name != strings.ToLower(name) {
			return response{}, fmt.Errorf("header %s is %v", name, h)
		}
		text[name] = value
	}
	if text["cache-control"] != "no-store" {
		return response{}, fmt.Errorf("an answer that may be kept: %v", maps.Clone(text))
	}
	body, _ := out["body"].(string)
	if r.Method == "HEAD" && body != "" {
		return response{}, errors.New("a body for HEAD")
	}
	return response{Status: int(status), Allow: text["allow"], Retry: text["retry-after"], Type: text["content-type"], Body: body}, nil
}
