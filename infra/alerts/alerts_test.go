package alerts_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate"
	"tallystream/aggregate/lease"
	"tallystream/aggregate/ledger/dynamodb"
	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/infra/alerts"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service"
)

// described is a registerer that only remembers what is registered.
type described struct{ help map[string]string }

var fqName = regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]*)"`)

func (d described) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 64)
	go func() { c.Describe(ch); close(ch) }()
	for desc := range ch {
		if m := fqName.FindStringSubmatch(desc.String()); m != nil {
			d.help[m[1]] = m[2]
		}
	}
	return nil
}

func (d described) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = d.Register(c)
	}
}

func (d described) Unregister(prometheus.Collector) bool { return false }

// registered are the metrics that the code registers, by name.
func registered(t *testing.T) map[string]string {
	t.Helper()
	d := described{map[string]string{}}
	service.NewReleaseWatch("r1", nil, d, slog.New(slog.DiscardHandler))
	server, err := bus.StartServer(bus.ServerOptions{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	server.Register(d)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	ingest.NewMetrics(d)
	stream.NewMetrics(d)
	kinesis.NewMetrics(d)
	aggregate.NewMetrics(d)
	lease.NewMetrics(d)
	dynamodb.NewMetrics(d)
	publish.NewMetrics(d)
	bucket.NewMetrics(d)
	fanout.NewMetrics(d)
	bus.NewMetrics(d)
	return d.help
}

var (
	metric = regexp.MustCompile(`\btallystream_[a-z0-9_]+`)
	suffix = regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
)

func checkMetrics(t *testing.T, where, text string) {
	t.Helper()
	known := registered(t)
	for _, name := range metric.FindAllString(text, -1) {
		if known[name] == "" && known[suffix.ReplaceAllString(name, "")] == "" {
			t.Errorf("%s: the code registers no metric %s", where, name)
		}
	}
}

// rule is what the tests look at in rules.yaml.
type rule struct{ alert, expr, severity, slo, summary, runbook string }

// readRules reads rules.yaml, whose form is fixed: a line a field, exprs of
// several lines indented deeper. promtool reads it as YAML.
func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules []rule
	block := false // inside an expr of several lines
	for n, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(trimmed, "- alert: "); ok {
			rules, block = append(rules, rule{alert: name}), false
			continue
		}
		if len(rules) == 0 || trimmed == "" {
			continue
		}
		r := &rules[len(rules)-1]
		if block && strings.HasPrefix(line, "          ") {
			r.expr += " " + trimmed
			continue
		}
		block = false
		key, value, ok := strings.Cut(trimmed, ":")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if !ok {
			t.Fatalf("rules.yaml:%d: %q is not a field", n+1, line)
		}
		switch key {
		case "expr":
			r.expr, block = value, value == "|"
		case "severity":
			r.severity = value
		case "slo":
			r.slo = value
		case "summary":
			r.summary = value
		case "runbook":
			r.runbook = value
		}
	}
	return rules
}

func TestEachObjectiveHasItsAlertsAndEachAlertItsRunbook(t *testing.T) {
	byName := map[string]rule{}
	for _, r := range readRules(t) {
		byName[r.alert] = r
		o, ok := alerts.Find(r.slo)
		if !ok || !slices.Contains(o.Alert, r.alert) {
			t.Errorf("%s: slo %q does not list it", r.alert, r.slo)
		}
		if r.severity != "page" && r.severity != "ticket" {
			t.Errorf("%s: severity %q, want page or ticket", r.alert, r.severity)
		}
		if r.summary == "" || r.expr == "" {
			t.Errorf("%s: no summary or no expr", r.alert)
		}
		checkRunbook(t, r.alert, r.runbook)
	}
	for _, o := range alerts.Objectives {
		for _, name := range o.Alert {
			if byName[name].alert == "" {
				t.Errorf("%s: there is no alert %s", o.Name, name)
			}
		}
	}
}

// checkRunbook wants the file, and in it a section for the alert.
func checkRunbook(t *testing.T, alert, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../runbooks", name))
	if err != nil {
		t.Errorf("%s: its runbook: %v", alert, err)
		return
	}
	if !strings.Contains(string(text), "`"+alert+"`") {
		t.Errorf("%s: %s does not speak of it", alert, name)
	}
}

func TestAlertsNameMetricsOfTheCode(t *testing.T) {
	for _, r := range readRules(t) {
		if !metric.MatchString(r.expr) {
			t.Errorf("%s: %q names no metric", r.alert, r.expr)
		}
		checkMetrics(t, r.alert, r.expr)
	}
	text, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkMetrics(t, "rules_test.yaml", string(text))
}

// A label value that nothing ever has makes an alert that never comes.
func TestOutcomesInAlertsAreOnesThatIngestCounts(t *testing.T) {
	outcome := regexp.MustCompile(`tallystream_ingest_requests_total\{outcome=~?"([^"]+)"`)
	server := map[string]bool{}
	for _, code := range []schemas.ProblemCode{schemas.ProblemBusy, schemas.ProblemUnavailable} {
		server[string(code)] = true
	}
	for _, r := range readRules(t) {
		for _, m := range outcome.FindAllStringSubmatch(r.expr, -1) {
			for _, code := range strings.Split(m[1], "|") {
				if ingest.StatusOf(schemas.ProblemCode(code)) < 500 {
					t.Errorf("%s: the outcome %q is no server error of ingest", r.alert, code)
				}
				delete(server, code)
			}
		}
	}
	if len(server) > 0 {
		t.Errorf("server errors that no alert counts: %v", server)
	}
}

func TestPromtoolAgreesWithTheRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on this machine")
	}
	for _, arguments := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, arguments...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", arguments, err, out)
		}
	}
}

func TestEachAlertIsUnitTested(t *testing.T) {
	text, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		if !strings.Contains(string(text), "alertname: "+r.alert+"\n") {
			t.Errorf("%s has no unit test", r.alert)
		}
	}
}

// A dashboard as Grafana reads it, as far as the tests look at it.
type dashboard struct {
	Title  string
	UID    string
	Panels []struct {
		Title       string
		Description string
		Type        string
		Targets     []struct{ Expr string }
		Links       []struct{ URL string }
	}
}

func TestDashboardsShowMetricsOfTheCode(t *testing.T) {
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	uids := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.Title == "" || d.UID == "" || uids[d.UID] != "" {
			t.Errorf("%s: a dashboard needs a title and a uid of its own", name)
		}
		uids[d.UID] = name
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			if p.Description == "" || len(p.Targets) == 0 {
				t.Errorf("%s: %q says nothing or shows nothing", name, p.Title)
			}
			for _, target := range p.Targets {
				if !metric.MatchString(target.Expr) {
					t.Errorf("%s: %q shows no metric of ours: %s", name, p.Title, target.Expr)
				}
				checkMetrics(t, name+" "+p.Title, target.Expr)
			}
		}
	}
}

// Who wakes at night has to find every alert's signal on the dashboard.
func TestTheNightsDashboardShowsWhatAlertsWatch(t *testing.T) {
	text, err := os.ReadFile("dashboards/night.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		for _, name := range metric.FindAllString(r.expr, -1) {
			if !strings.Contains(string(text), name) {
				t.Errorf("%s watches %s, which the night's dashboard does not show", r.alert, name)
			}
		}
	}
}
