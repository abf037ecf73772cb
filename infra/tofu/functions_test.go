package tofu_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"tallystream/infra/functions"
	"tallystream/infra/functions/latest"
	"tallystream/infra/functions/notify"
	"tallystream/infra/functions/verify"
	"tallystream/infra/tofu"
)

// starts begin each function as its main package does, with what it asks for
// written down. None gets further than its environment, which is empty.
var starts = map[string]func(context.Context, *functions.Environment) error{
	"verify": func(ctx context.Context, e *functions.Environment) error {
		_, err := verify.New(ctx, e, slog.New(slog.DiscardHandler))
		return err
	},
	"notify": func(ctx context.Context, e *functions.Environment) error {
		_, err := notify.New(ctx, e, slog.New(slog.DiscardHandler))
		return err
	},
	"latest": func(ctx context.Context, e *functions.Environment) error {
		_, err := latest.New(ctx, e, slog.New(slog.DiscardHandler))
		return err
	},
}

// functionItems are the functions of the text: name, and what is said of each.
func functionItems(t *testing.T) map[string]*hclsyntax.ObjectConsExpr {
	t.Helper()
	choice, ok := load(t, tofu.Files)[tofu.Region].Locals["functions"].Expr.(*hclsyntax.ConditionalExpr)
	if !ok {
		t.Fatal("local.functions is no choice between none and all")
	}
	return objects(t, choice.FalseResult)
}

func objects(t *testing.T, e hclsyntax.Expression) map[string]*hclsyntax.ObjectConsExpr {
	t.Helper()
	out := map[string]*hclsyntax.ObjectConsExpr{}
	for name, value := range items(t, e) {
		if o, ok := value.(*hclsyntax.ObjectConsExpr); ok {
			out[name] = o
		}
	}
	return out
}

func items(t *testing.T, e hclsyntax.Expression) map[string]hclsyntax.Expression {
	t.Helper()
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		t.Fatalf("%v is no object", e.Range())
	}
	out := map[string]hclsyntax.Expression{}
	for _, item := range object.Items {
		key, problems := item.KeyExpr.Value(nil)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		out[key.AsString()] = item.ValueExpr
	}
	return out
}

func TestTheFunctionsAreThoseThatAreWritten(t *testing.T) {
	mains, err := filepath.Glob("../functions/*/bootstrap/main.go")
	if err != nil {
		t.Fatal(err)
	}
	written := functionItems(t)
	for _, at := range mains {
		name := filepath.Base(filepath.Dir(filepath.Dir(at)))
		if written[name] == nil || starts[name] == nil {
			t.Errorf("the function %s is not deployed, or not looked at here", name)
		}
	}
	if len(mains) != len(written) || len(starts) != len(written) {
		t.Errorf("%d functions in the code, %d deployed, %d looked at", len(mains), len(written), len(starts))
	}
}

// What a function is told by its environment is what it asks for.
func TestTheFunctionsAreToldWhatTheyAskFor(t *testing.T) {
	for name, object := range functionItems(t) {
		told := map[string]bool{"TALLYSTREAM_ELECTION": true} // merged into all
		for variable := range items(t, items(t, object)["environment"]) {
			told[variable] = true
		}
		asked := map[string]bool{}
		if err := starts[name](t.Context(), functions.FromEnvironment(func(v string) string { asked[v] = true; return "" })); err == nil {
			t.Errorf("%s starts without an environment", name)
		}
		for v := range asked {
			if !told[v] {
				t.Errorf("%s asks for %s, and is not told", name, v)
			}
		}
		for v := range told {
			if !asked[v] {
				t.Errorf("%s is told %s, and never asks", name, v)
			}
		}
	}
}

// functionCalls are the calls that each function makes, by the package that makes
// them, with the right that each needs.
var functionCalls = map[string][]struct{ pkg, method, right string }{
	"verify": {
		{"infra/functions/verify", "GetObject", "s3:GetObject on ${aws_s3_bucket.verified.arn}/${var.election}.state"},
		{"infra/functions/verify", "PutObject", "s3:PutObject on ${aws_s3_bucket.verified.arn}/${var.election}.state"},
	},
	"latest": {
		{"infra/functions/latest", "GetObject", "s3:GetObject on ${aws_s3_bucket.published.arn}/*"},
		{"infra/functions/latest", "HeadObject", "s3:GetObject on ${aws_s3_bucket.published.arn}/*"},
		{"infra/functions/latest", "ListObjectsV2", "s3:ListBucket on aws_s3_bucket.published.arn"},
		{"infra/functions/latest", "PutObject", "s3:PutObject on ${aws_s3_bucket.published.arn}/latest"},
		{"publish/bucket", "GetObject", "s3:GetObject on ${aws_s3_bucket.published.arn}/*"},
		{"service/register", "GetItem", "dynamodb:GetItem on aws_dynamodb_table.control.arn"},
	},
	"notify": {
		{"infra/functions/notify", "secretsmanager.GetSecretValue", "secretsmanager:GetSecretValue on data.aws_secretsmanager_secret.notify[0].arn"},
	},
}

// functionImplied are rights that no call has the name of.
var functionImplied = map[string]bool{
	"s3:ListBucket on aws_s3_bucket.verified.arn": true, // else S3 says 403 of a state that is not there yet
	// Lambda hands verify's answer on with verify's own role.
	"lambda:InvokeFunction on arn:${local.partition}:lambda:${var.region}:${local.account}:function:${local.name}-notify": true,
}

func TestFunctionsHaveTheRightsThatTheirCodeUsesAndNoOthers(t *testing.T) {
	d := tofu.Deployment{Modules: load(t, tofu.Files), Schema: readSchema(t, cutPath)}
	for name, calls := range functionCalls {
		given, needed := tofu.RightsOf(d, name), map[string]bool{}
		for _, c := range calls {
			needed[c.right] = true
			if !slices.Contains(given, c.right) {
				t.Errorf("%s calls %s and has no right %q", name, c.method, c.right)
			}
			if !madeIn(t, c.pkg)[c.method] {
				t.Errorf("%s does not call %s any more", c.pkg, c.method)
			}
		}
		for _, right := range given {
			if !needed[right] && !functionImplied[right] {
				t.Errorf("%s may %q and never does", name, right)
			}
		}
		own := "infra/functions/" + name
		for method := range madeIn(t, own) {
			if !slices.ContainsFunc(calls, func(c struct{ pkg, method, right string }) bool { return c.pkg == own && c.method == method }) {
				t.Errorf("%s calls %s, which stands in no table", own, method)
			}
		}
	}
}

// madeIn are the calls of AWS in a package's sources: methods of the SDK's clients,
// and what is asked of a service by its target header.
func madeIn(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	known := map[string]bool{"ListObjectsV2": true, "HeadObject": true, "DeleteObject": true, "UpdateItem": true, "DeleteItem": true, "PutItem": true, "Query": true, "Sign": true}
	for _, calls := range functionCalls {
		for _, c := range calls {
			known[c.method] = true
		}
	}
	made := map[string]bool{}
	names, err := filepath.Glob("../../" + pkg + "/*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v", pkg, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && known[s.Sel.Name] && len(n.Args) >= 2 {
					made[s.Sel.Name] = true
				}
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "NewListObjectsV2Paginator" {
					made["ListObjectsV2"] = true
				}
			case *ast.BasicLit:
				if target := strings.Trim(n.Value, `"`); known[target] && strings.Contains(target, ".") {
					made[target] = true
				}
			}
			return true
		})
	}
	return made
}

// verify's own way out is Lambda's destination: both its ends lead to notify.
func TestWhatVerifySaysGoesToNotify(t *testing.T) {
	m := load(t, tofu.Files)[tofu.Region]
	blocks := m.Of("resource", "aws_lambda_function_event_invoke_config")
	if len(blocks) != 1 {
		t.Fatalf("%d configurations of invocations, want one", len(blocks))
	}
	for _, end := range []string{"on_success", "on_failure"} {
		if got := tofu.At(m, blocks[0].Body, "destination_config", end, "destination"); !strings.Contains(got, "notify") {
			t.Errorf("%s leads to %q", end, got)
		}
	}
}
