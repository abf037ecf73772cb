package tofu_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nats "github.com/nats-io/nats-server/v2/server"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"tallystream/aggregate"
	"tallystream/fanout"
	"tallystream/infra/check"
	"tallystream/infra/tofu"
	"tallystream/ingest"
	"tallystream/publish"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
)

// The values that the example's tests use.
const (
	election = "franklin-2028"
	account  = "111122223333"
	east     = "us-east-1"
)

// receiptKey is a verifier key as `tallystream keys new` prints it.
const receiptKey = "example.org/franklin-2028/ingest+e746b308+AYqI3Dbx+fm62WNjQJr+4KwuR2HTBs8ZOMBvvRc6oyQq"

// evaluate computes a local of the region module from known values, for an
// election that has everything.
func evaluate(t *testing.T, name string) cty.Value {
	t.Helper()
	return evaluateFor(t, name, map[string]cty.Value{"receipt_key": cty.StringVal(receiptKey), "root_keys": cty.True, "suppression": cty.True})
}

// evaluateFor computes it with what only some elections have.
func evaluateFor(t *testing.T, name string, some map[string]cty.Value) cty.Value {
	t.Helper()
	m := load(t, tofu.Files)[tofu.Region]
	text := func(s string) cty.Value { return cty.StringVal(s) }
	locals := map[string]cty.Value{
		"account": text(account), "partition": text("aws"), "home_bucket": text("bucket"), "is_home": cty.True, "writes": cty.True,
		"zones": cty.ObjectVal(map[string]cty.Value{"us-east-1a": cty.NumberIntVal(0), "us-east-1b": cty.NumberIntVal(1), "us-east-1c": cty.NumberIntVal(2)}),
		"name":  text("tallystream-" + election),
	}
	variables := map[string]cty.Value{
		"election": text(election), "region": text(east), "home_region": text(east), "writer_region": text(east),
		"hosts":           cty.ObjectVal(map[string]cty.Value{"results": text("results.example.org"), "ingest": text("submit.example.org"), "live": text("live.example.org")}),
		"release_pointer": cty.ObjectVal(map[string]cty.Value{"bucket": text("releases"), "key": text("current")}),
		"bus_peers":       cty.MapVal(map[string]cty.Value{"us-west-2": text("bus.us-west-2.example.org")}),
	}
	maps.Copy(variables, some)
	scope := &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var":    cty.ObjectVal(variables),
			"aws_lb": cty.ObjectVal(map[string]cty.Value{"bus": cty.ObjectVal(map[string]cty.Value{"dns_name": text("bus.us-east-1.example.org")})}),
		},
		Functions: map[string]function.Function{"join": stdlib.JoinFunc, "values": stdlib.ValuesFunc, "concat": stdlib.ConcatFunc},
	}
	scope.Functions["merge"] = stdlib.MergeFunc
	value := func(name string) cty.Value {
		scope.Variables["local"] = cty.ObjectVal(locals)
		v, problems := m.Locals[name].Expr.Value(scope)
		if problems.HasErrors() {
			t.Fatalf("local.%s: %v", name, problems)
		}
		return v
	}
	locals["ports"], locals["release_environment"] = value("ports"), value("release_environment")
	return value(name)
}

// Names here are those that `tallystream setup` makes: both are run, for every
// region of the example.
func TestNamesAreThoseOfSetup(t *testing.T) {
	id, err := schemas.ParseElectionID(election)
	if err != nil {
		t.Fatal(err)
	}
	names, err := cloud.NamesOf("tallystream", id, cloud.Site{Account: account, Region: east}, "")
	if err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]string{
		"stream_name": names.Stream, "ledger_name": names.Ledger, "control_name": names.Control, "bucket_name": names.Bucket, "signing_alias": names.Key,
	} {
		if got := evaluate(t, local).AsString(); got != want {
			t.Errorf("local.%s is %q, setup says %q", local, got, want)
		}
	}
}

// The longest election's identifier that the modules take is one that setup takes
// as it is, in the region with the longest name.
func TestSetupShortensNoNameThatTheModulesTake(t *testing.T) {
	longest := schemas.ElectionID("a" + strings.Repeat("b", 19) + "c")
	names, err := cloud.NamesOf("tallystream", longest, cloud.Site{Account: account, Region: "ap-southeast-1x"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(names.Bucket, "tallystream-"+string(longest)+"-") {
		t.Errorf("setup calls the bucket %s", names.Bucket)
	}
}

// Shapes are those of setup, or stricter where the text says so: keys of ours in
// place of AWS's own.
func TestShapesAreThoseOfSetup(t *testing.T) {
	plan := cloud.Names{Stream: "s", Ledger: "l", Control: "c", Bucket: "b", Key: "k"}.Plan(cloud.Size{Shards: 4}, east)
	m := load(t, tofu.Files)[tofu.Region]
	block := func(typ, name string) *check.Block {
		for _, b := range m.Of("resource", typ) {
			if b.Name == name {
				return b
			}
		}
		t.Fatalf("there is no %s.%s", typ, name)
		return nil
	}
	same := func(b *check.Block, want string, path ...string) {
		t.Helper()
		if got := tofu.At(m, b.Body, path...); got != want {
			t.Errorf("%s %v is %q, setup says %q", b.Address(), path, got, want)
		}
	}
	stream := block("aws_kinesis_stream", "submissions")
	same(stream, plan.Stream.Mode, "stream_mode_details", "stream_mode")
	same(stream, cty.NumberIntVal(int64(plan.Stream.RetentionHours)).AsBigFloat().String(), "retention_period")
	for i, name := range []string{"ledger", "control"} {
		want := plan.Tables[i]
		table := block("aws_dynamodb_table", name)
		same(table, want.PartitionKey, "hash_key")
		same(table, want.SortKey, "range_key")
		same(table, want.BillingMode, "billing_mode")
		same(table, want.TTLAttribute, "ttl", "attribute_name")
		if want.PointInTimeRecovery && want.DeletionProtection {
			same(table, "true", "point_in_time_recovery", "enabled")
			same(table, "true", "deletion_protection_enabled")
		}
	}
	bucket := plan.Bucket
	same(block("aws_s3_bucket_server_side_encryption_configuration", "published"), bucket.Encryption, "rule", "apply_server_side_encryption_by_default", "sse_algorithm")
	same(block("aws_s3_bucket_ownership_controls", "published"), bucket.Ownership, "rule", "object_ownership")
	if bucket.Versioning && bucket.BlockPublicAccess {
		same(block("aws_s3_bucket_versioning", "published"), "Enabled", "versioning_configuration", "status")
		same(block("aws_s3_bucket_public_access_block", "published"), "true", "restrict_public_buckets")
	}
	key := block("aws_kms_key", "signing")
	same(key, plan.Key.Spec, "customer_master_key_spec")
	same(key, plan.Key.Usage, "key_usage")
}

// What the tasks are started with is what the program takes.
func TestTheProgramTakesTheTasksArguments(t *testing.T) {
	services := evaluate(t, "services").AsValueMap()
	if len(services) != 4 {
		t.Errorf("%d services, want 4", len(services))
	}
	// What was parsed is looked at again, so that no option goes astray.
	var given struct {
		receiptKey, roots string
		follows           bool
	}
	defer func() {
		if given.receiptKey != receiptKey || given.roots != "/election/roots.json" || !given.follows {
			t.Errorf("publish and ingest were told %+v", given)
		}
	}()
	for name, s := range services {
		var program struct {
			Ingest    ingest.Command    `cmd:""`
			Aggregate aggregate.Command `cmd:""`
			Publish   publish.Command   `cmd:""`
			Fanout    fanout.Command    `cmd:""`
		}
		parser, err := kong.New(&program, kong.Name("tallystream"), kong.Exit(func(int) { t.Error("the program ended itself") }))
		if err != nil {
			t.Fatal(err)
		}
		arguments := []string{name, "--status=0.0.0.0:9464"}
		for _, v := range s.GetAttr("arguments").AsValueSlice() {
			arguments = append(arguments, v.AsString())
		}
		if _, err := parser.Parse(arguments); err != nil {
			t.Errorf("tallystream %s: %v", strings.Join(arguments, " "), err)
		}
		switch name {
		case "publish":
			given.receiptKey, given.roots = program.Publish.ReceiptKey, program.Publish.Roots
		case "ingest":
			given.follows = program.Ingest.FollowKeys != nil && *program.Ingest.FollowKeys
		}
	}
}

// An election without root keys, hidden units or a known receipt key asks for none
// of them: a task whose secret has no value does not start.
func TestWhatAnElectionHasNotItsTasksAreNotGiven(t *testing.T) {
	none := map[string]cty.Value{"receipt_key": cty.NullVal(cty.String), "root_keys": cty.False, "suppression": cty.False}
	for name, s := range evaluateFor(t, "services", none).AsValueMap() {
		for _, v := range s.GetAttr("arguments").AsValueSlice() {
			for _, flag := range []string{"--receipt-key", "--roots", "--follow-keys"} {
				if strings.HasPrefix(v.AsString(), flag) {
					t.Errorf("%s is given %s", name, v.AsString())
				}
			}
		}
		if _, ok := s.GetAttr("secrets").AsValueMap()["TALLYSTREAM_SEAL_KEY"]; ok {
			t.Errorf("%s is given the secret of hidden units", name)
		}
	}
	for _, of := range []map[string]cty.Value{none, {"receipt_key": cty.NullVal(cty.String), "root_keys": cty.False, "suppression": cty.True}} {
		made := evaluateFor(t, "secrets", of).AsValueMap()
		for name, service := range evaluateFor(t, "secrets_of", of).AsValueMap() {
			for _, secret := range service.AsValueSlice() {
				if _, ok := made[secret.AsString()]; !ok {
					t.Errorf("%s may read the secret %s, which is not made", name, secret.AsString())
				}
			}
		}
		if _, ok := made["seal_key"]; ok != of["suppression"].True() {
			t.Errorf("suppression %v, and seal_key made: %v", of["suppression"].True(), ok)
		}
	}
}

// Each secret that a task is given is one that its start may read.
func TestTasksAreGivenWhatTheirStartMayRead(t *testing.T) {
	may := evaluate(t, "secrets_of").AsValueMap()
	for name, s := range evaluate(t, "services").AsValueMap() {
		read := map[string]bool{}
		for _, v := range may[name].AsValueSlice() {
			read[v.AsString()] = true
		}
		for env, v := range s.GetAttr("secrets").AsValueMap() {
			if !read[v.AsString()] {
				t.Errorf("%s is given %s and its start may not read %s", name, env, v.AsString())
			}
			delete(read, v.AsString())
		}
		for secret := range read {
			t.Errorf("the start of %s may read %s, which it is not given", name, secret)
		}
	}
}

// The nodes of the bus take their configuration, and each has the others, and the
// other region's three, as neighbours.
func TestTheBusTakesItsConfiguration(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir)
	t.Setenv("BUS_PASSWORD", "not-a-secret")
	names := map[string]bool{}
	for zone, v := range evaluate(t, "bus_configuration").AsValueMap() {
		configuration := strings.ReplaceAll(v.AsString(), "/dev/shm/bus", dir)
		configuration = strings.ReplaceAll(configuration, "${BUS_PASSWORD}", "not-a-secret") // as the task's sed does
		var o nats.Options
		if err := o.ProcessConfigString(configuration); err != nil {
			t.Errorf("%s: %v\n%s", zone, err, configuration)
			continue
		}
		names[o.ServerName] = true
		if len(o.Routes) != 2 || len(o.Gateway.Gateways) != 1 || len(o.Gateway.Gateways[0].URLs) != 3 {
			t.Errorf("%s: %d routes, %d gateways", zone, len(o.Routes), len(o.Gateway.Gateways))
		}
		if o.Password != "not-a-secret" || o.Cluster.Password != "not-a-secret" || o.Gateway.Password != "not-a-secret" {
			t.Errorf("%s: a listener has no password", zone)
		}
		if o.TLSConfig == nil || o.Cluster.TLSConfig == nil || o.Gateway.TLSConfig == nil {
			t.Errorf("%s: a listener without TLS", zone)
		}
		if o.JetStream {
			t.Errorf("%s: the bus keeps nothing", zone)
		}
	}
	if len(names) != 3 {
		t.Errorf("nodes are called %v, want three names", names)
	}
}

func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bus"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: der}, "certificate.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// CloudWatch is given the metrics that alarms and scaling look at, and no others.
func TestCloudWatchGetsWhatIsLookedAt(t *testing.T) {
	m := load(t, tofu.Files)[tofu.Region]
	looked := map[string]bool{}
	for _, typ := range []string{"aws_cloudwatch_metric_alarm", "aws_appautoscaling_policy"} {
		for _, b := range m.Of("resource", typ) {
			for _, s := range tofu.Strings(m, b.Body) {
				if strings.HasPrefix(s, "tallystream_") {
					looked[s] = true
				}
			}
		}
	}
	v, err := convert.Convert(evaluate(t, "cloudwatch_metrics"), cty.Map(cty.List(cty.String)))
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, metrics := range v.AsValueMap() {
		for _, metric := range metrics.AsValueSlice() {
			given[metric.AsString()] = true
		}
	}
	for metric := range looked {
		if !given[metric] {
			t.Errorf("%s is looked at and not sent to CloudWatch", metric)
		}
	}
	for metric := range given {
		if !looked[metric] {
			t.Errorf("%s is sent to CloudWatch, for money, and not looked at", metric)
		}
	}
}

// environment of AWS's own and Go's libraries.
var librariesRead = map[string]bool{
	"AWS_REGION": true, "AWS_ENDPOINT_URL_KINESIS": true, "AWS_ENDPOINT_URL_DYNAMODB": true, "AWS_ENDPOINT_URL_S3": true, "AWS_ENDPOINT_URL_KMS": true, "GOMEMLIMIT": true,
}

// What the tasks are told by their environment is what the program listens to.
func TestTheProgramReadsTheTasksEnvironment(t *testing.T) {
	commands := map[string]any{"ingest": &ingest.Command{}, "aggregate": &aggregate.Command{}, "publish": &publish.Command{}, "fanout": &fanout.Command{}}
	common := evaluate(t, "environment").AsValueMap()
	for name, s := range evaluate(t, "services").AsValueMap() {
		parser, err := kong.New(commands[name])
		if err != nil {
			t.Fatal(err)
		}
		read := map[string]bool{}
		for _, flag := range parser.Model.Flags {
			for _, env := range flag.Envs {
				read[env] = true
			}
		}
		given := append(slices.Collect(maps.Keys(common)), slices.Collect(maps.Keys(s.GetAttr("release").AsValueMap()))...)
		if pointed := s.GetAttr("release").LengthInt() > 0; pointed != (len(s.GetAttr("ports").AsValueSlice()) > 0) {
			t.Errorf("%s: the release pointer is for what stands behind a balancer, and all of it", name)
		}
		for env := range s.GetAttr("secrets").AsValueMap() {
			given = append(given, env)
		}
		for _, env := range given {
			if !read[env] && !librariesRead[env] && env != service.KeyVariable(name) && !(name == "publish" && env == service.KeyVariable("seal")) {
				t.Errorf("%s is given %s, which it does not read", name, env)
			}
		}
	}
}

// The values to copy are those that the example wants, and no others.
func TestTheExamplesValuesAreComplete(t *testing.T) {
	const name = "environments/example/terraform.tfvars.example"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	given := file.Body.(*hclsyntax.Body).Attributes
	wanted := map[string]bool{}
	for _, v := range load(t, tofu.Files)[tofu.Example].Of("variable", "") {
		wanted[v.Name] = true
		if v.Body.Attributes["default"] == nil && v.Body.Attributes["sensitive"] == nil && given[v.Name] == nil {
			t.Errorf("%s has no %s", name, v.Name)
		}
	}
	for value := range given {
		if !wanted[value] {
			t.Errorf("%s: the example has no variable %s", name, value)
		}
	}
}
