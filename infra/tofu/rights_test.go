package tofu_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"tallystream/infra/tofu"
	"tallystream/publish/log"
)

// call is one of AWS that an adapter makes, and who runs that code.
type call struct {
	adapter, method string
	services        []string
}

const (
	streamARN  = "local.home_stream_arn"
	ledgerARN  = "local.home_ledger_arn"
	controlARN = "local.home_control_arn"
)

var (
	all       = []string{"ingest", "aggregate", "publish"}
	stored    = []string{"aggregate", "publish"}
	counting  = []string{"aggregate"}
	ingesting = []string{"ingest"}
	posting   = []string{"publish"}
)

// calls of the adapters. A call that is not here, or is here and nowhere in the
// code, fails the test below.
var calls = []call{
	{"ingest/stream/kinesis", "PutRecords", ingesting},
	{"ingest/stream/kinesis", "DescribeStreamSummary", []string{"ingest", "aggregate"}},
	{"ingest/stream/kinesis", "ListShards", counting},
	{"ingest/stream/kinesis", "GetRecords", counting},
	{"ingest/stream/kinesis", "GetShardIterator", counting},
	{"ingest/stream/kinesis", "SubscribeToShard", counting},
	{"aggregate/ledger/dynamodb", "BatchGetItem", all},
	{"aggregate/ledger/dynamodb", "GetItem", all},
	{"aggregate/ledger/dynamodb", "Query", all},
	{"aggregate/ledger/dynamodb", "PutItem", counting}, // the row that names the election: whoever writes makes it
	{"aggregate/ledger/dynamodb", "TransactWriteItems", counting},
	{"service/register", "GetItem", all},
	{"service/register", "Query", all},
	{"service/register", "PutItem", stored},
	{"service/register", "DeleteItem", stored},
	{"publish/bucket", "GetObject", []string{"ingest", "publish", "fanout"}}, // ingest: to follow changes of keys
	{"publish/bucket", "PutObject", posting},
	{"service/release_pointer.go", "GetObject", []string{"ingest", "fanout"}}, // the release pointer
	{"service/notary", "GetPublicKey", posting},
	{"service/notary", "Sign", posting},
}

// resources are what each adapter reaches.
var resources = map[string]struct{ service, resource string }{
	"ingest/stream/kinesis":      {"kinesis", streamARN},
	"aggregate/ledger/dynamodb":  {"dynamodb", ledgerARN},
	"service/register":           {"dynamodb", controlARN},
	"publish/bucket":             {"s3", "${local.home_bucket_arn}/*"},
	"service/release_pointer.go": {"s3", "local.release_object_arn"},
	"service/notary":             {"kms", "var.home.signing_key_arn"},
}

// followed is what of the bucket publish.Keys reads: the log, whose leaves say who
// may sign, and the rosters that they name. The tests of publish/verify follow keys
// through a bucket that has no more than these.
var followed = []string{log.CheckpointKey, "rosters/*", "tile/*"}

// rightsOf are the rights that a service needs for a call: for a transaction
// those of the writes in it.
func rightsOf(service string, c call) []string {
	r := resources[c.adapter]
	resource := r.resource
	switch {
	case c.method == "TransactWriteItems":
		return []string{"dynamodb:PutItem on " + resource, "dynamodb:UpdateItem on " + resource}
	case c.method == "SubscribeToShard":
		resource = "${local.home_stream_arn}/consumer/${local.name}-aggregate:*"
	case c.adapter == "publish/bucket" && service == "ingest":
		var out []string
		for _, key := range followed {
			out = append(out, "s3:GetObject on ${local.home_bucket_arn}/"+key)
		}
		return out
	}
	return []string{r.service + ":" + c.method + " on " + resource}
}

// implied are rights that no call has the name of.
var implied = map[string]bool{
	"kms:GenerateDataKey on var.home.data_key_arn": true, // a stream with our key, to write
	"kms:Decrypt on var.home.data_key_arn":         true, // a stream or table with our key, to read
	"s3:ListBucket on local.home_bucket_arn":       true, // else S3 says 403 of a key that is free
	"s3:ListBucket on local.release_bucket_arn":    true, // and of a pointer that is not there
}

// Roles have the rights to what the code calls, and none besides.
func TestRolesHaveTheRightsThatTheCodeUsesAndNoOthers(t *testing.T) {
	needed := map[string]map[string]bool{}
	for _, c := range calls {
		for _, service := range c.services {
			if needed[service] == nil {
				needed[service] = map[string]bool{}
			}
			for _, right := range rightsOf(service, c) {
				needed[service][right] = true
			}
		}
	}
	d := tofu.Deployment{Modules: load(t, tofu.Files), Schema: readSchema(t, cutPath)}
	for service, rights := range needed {
		given := tofu.RightsOf(d, service)
		for right := range rights {
			if !slices.Contains(given, right) {
				t.Errorf("%s calls %s and has no right to", service, right)
			}
		}
		for _, right := range given {
			if !rights[right] && !implied[right] {
				t.Errorf("%s may %s and never does", service, right)
			}
		}
	}
}

// The table of calls is that of the code: it is read, method by method.
func TestTheTableOfCallsIsWhatTheAdaptersCall(t *testing.T) {
	operations := map[string]bool{}
	for _, c := range calls {
		operations[c.method] = true
	}
	for _, other := range []string{
		"PutRecord", "DescribeStream", "DescribeStreamConsumer", "RegisterStreamConsumer", "UpdateItem", "BatchWriteItem", "TransactGetItems", "Scan",
		"DescribeTable", "HeadObject", "HeadBucket", "ListObjectsV2", "DeleteObject", "CopyObject", "DescribeKey", "Encrypt",
	} {
		operations[other] = true
	}
	for adapter := range resources {
		made := map[string]bool{}
		dir, which := adapter, "*.go"
		if strings.HasSuffix(adapter, ".go") { // one file of a package that does other things too
			dir, which = path.Split(adapter)
		}
		tree := os.DirFS("../../" + dir)
		names, err := fs.Glob(tree, which)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", adapter, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
			if err != nil {
				t.Skipf("%s/%s is being written: %v", adapter, name, err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if c, ok := n.(*ast.CallExpr); ok {
					// A client's method: context, input, options.
					if s, ok := c.Fun.(*ast.SelectorExpr); ok && operations[s.Sel.Name] && len(c.Args) >= 2 {
						made[s.Sel.Name] = true
					}
				}
				return true
			})
		}
		for _, c := range calls {
			if c.adapter == adapter && !made[c.method] {
				t.Errorf("%s does not call %s any more", adapter, c.method)
			}
			if c.adapter == adapter {
				delete(made, c.method)
			}
		}
		for method := range made {
			t.Errorf("%s calls %s, which stands in no role's table", adapter, method)
		}
	}
}
