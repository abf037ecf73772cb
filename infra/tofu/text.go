package tofu

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"tallystream/infra/check"
)

// text is what an expression says, for a policy to look at: a string with its
// references left as ${...}, true, 168. Other expressions are their references.
func text(m *check.Module, e hclsyntax.Expression) string {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return literal(e.Val)
	case *hclsyntax.TemplateExpr:
		var b strings.Builder
		for _, part := range e.Parts {
			if l, ok := part.(*hclsyntax.LiteralValueExpr); ok {
				b.WriteString(literal(l.Val))
			} else {
				b.WriteString("${" + text(m, part) + "}")
			}
		}
		return b.String()
	case *hclsyntax.TemplateWrapExpr:
		return "${" + text(m, e.Wrapped) + "}"
	case *hclsyntax.ScopeTraversalExpr:
		return reference(e.Traversal)
	case *hclsyntax.ParenthesesExpr:
		return text(m, e.Expression)
	case *hclsyntax.IndexExpr:
		return text(m, e.Collection) + "[" + text(m, e.Key) + "]"
	case *hclsyntax.RelativeTraversalExpr:
		return text(m, e.Source) + reference(e.Traversal)
	default:
		var names []string
		for _, t := range e.Variables() {
			names = append(names, reference(t))
		}
		return strings.Join(names, " ")
	}
}

func literal(v cty.Value) string {
	s, err := convert.Convert(v, cty.String)
	if err != nil || s.IsNull() || !s.IsKnown() {
		return ""
	}
	return s.AsString()
}

// reference is a traversal as it is written, with literal indexes.
func reference(t hcl.Traversal) string {
	var b strings.Builder
	for _, s := range t {
		switch s := s.(type) {
		case hcl.TraverseRoot:
			b.WriteString(s.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + s.Name)
		case hcl.TraverseIndex:
			b.WriteString("[" + literal(s.Key) + "]")
		}
	}
	return b.String()
}

// texts are the elements of a list that is written out, or that a local holds.
// ok is false for anything else.
func texts(m *check.Module, e hclsyntax.Expression) (out []string, ok bool) {
	switch e := e.(type) {
	case *hclsyntax.TupleConsExpr:
		for _, element := range e.Exprs {
			out = append(out, text(m, element))
		}
		return out, true
	case *hclsyntax.ForExpr: // one form for all its elements
		return []string{text(m, e.ValExpr)}, true
	case *hclsyntax.ScopeTraversalExpr:
		if len(e.Traversal) == 2 && e.Traversal.RootName() == "local" {
			if a := m.Locals[e.Traversal[1].(hcl.TraverseAttr).Name]; a != nil {
				return texts(m, a.Expr)
			}
		}
	}
	return nil, false
}

// argument is the text of a block's argument, or "".
func argument(m *check.Module, body *hclsyntax.Body, name string) string {
	a := body.Attributes[name]
	if a == nil {
		return ""
	}
	return text(m, a.Expr)
}

// list is the texts of a block's argument.
func list(m *check.Module, body *hclsyntax.Body, name string) ([]string, bool) {
	a := body.Attributes[name]
	if a == nil {
		return nil, false
	}
	return texts(m, a.Expr)
}

// nested are the blocks of a name directly inside, and what dynamic blocks of that
// name make, with the condition of a dynamic one ("" for a plain one).
type nestedBlock struct {
	Body *hclsyntax.Body
	When string // for_each of the dynamic block
	At   hcl.Range
}

func nested(m *check.Module, body *hclsyntax.Body, name string) []nestedBlock {
	var out []nestedBlock
	for _, b := range body.Blocks {
		switch {
		case b.Type == name:
			out = append(out, nestedBlock{Body: b.Body, At: b.DefRange()})
		case b.Type == "dynamic" && len(b.Labels) == 1 && b.Labels[0] == name:
			for _, content := range b.Body.Blocks {
				out = append(out, nestedBlock{Body: content.Body, When: argument(m, b.Body, "for_each"), At: b.DefRange()})
			}
		}
	}
	return out
}

// one is the only nested block of a name, or nil.
func one(m *check.Module, body *hclsyntax.Body, name string) *hclsyntax.Body {
	if found := nested(m, body, name); len(found) == 1 {
		return found[0].Body
	}
	return nil
}

// at is the text of an argument down a path of single nested blocks.
func at(m *check.Module, body *hclsyntax.Body, path ...string) string {
	for _, name := range path[:len(path)-1] {
		if body = one(m, body, name); body == nil {
			return ""
		}
	}
	return argument(m, body, path[len(path)-1])
}

// templates are all strings of a body and of its nested blocks, in order.
func templates(m *check.Module, body *hclsyntax.Body) []string {
	var out []string
	_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
		if t, ok := n.(*hclsyntax.TemplateExpr); ok {
			out = append(out, text(m, t))
		}
		return nil
	})
	return out
}

// objectItems are the values of all object keys in an attribute, at any depth, by key.
func objectItems(a *hclsyntax.Attribute) map[string][]hclsyntax.Expression {
	out := map[string][]hclsyntax.Expression{}
	if a == nil {
		return out
	}
	_ = hclsyntax.VisitAll(a, func(n hclsyntax.Node) hcl.Diagnostics {
		o, ok := n.(*hclsyntax.ObjectConsExpr)
		if !ok {
			return nil
		}
		for _, item := range o.Items {
			key := hcl.ExprAsKeyword(item.KeyExpr)
			if v, problems := item.KeyExpr.Value(nil); key == "" && !problems.HasErrors() {
				key = literal(v)
			}
			out[key] = append(out[key], item.ValueExpr)
		}
		return nil
	})
	return out
}
