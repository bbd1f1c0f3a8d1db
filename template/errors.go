package template

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template/parse"
)

// reason is a cause in our own words. Only a reason is ever shown: the words of
// other packages may quote data.
type reason string

func (r reason) Error() string { return string(r) }

// failMessage is what a template says with the function fail.
type failMessage string

// Error does not return the message: it may be computed from data.
func (failMessage) Error() string { return "the template says fail" }

// fault is the failure of a function.
type fault struct {
	function string
	why      string
	message  string
	failed   bool
}

// Error returns the function and the reason.
func (f *fault) Error() string { return f.function + ": " + f.why }

const (
	errStopped  = reason("the rendering was stopped")
	errPanicked = failedCall("panic")
)

// failedCall stands for a failure whose text is not shown.
type failedCall string

func (f failedCall) Error() string { return string(f) }

func tooLarge(what string, limit int) error {
	return reason(what + " is larger than " + strconv.Itoa(limit) + " bytes")
}

func reAt() *regexp.Regexp { return regexp.MustCompile(`^template: -:(\d+):(\d+): `) }

// describe turns what an execution failed with into an error that can be shown:
// where, which expression, and why in our own words.
func (p *program) describe(err error) error {
	why := p.explain(err)
	at := reAt().FindStringSubmatch(err.Error())
	if at == nil {
		return reason(why)
	}
	line, _ := strconv.Atoi(at[1])
	column, _ := strconv.Atoi(at[2])
	return reason(fmt.Sprintf("line %d, column %d: %s, in %s", line, column+1, why, p.expressionAt(line, column)))
}

func (p *program) explain(err error) string {
	if f, ok := errors.AsType[*fault](err); ok {
		if f.failed {
			f.why = p.failText(f.message)
		}
		return f.Error()
	}
	if why, ok := errors.AsType[reason](err); ok {
		return string(why)
	}
	return classify(err.Error(), executionClasses())
}

func (p *program) failText(message string) string {
	if p.fails[message] && len(message) <= 200 {
		return strconv.Quote(message)
	}
	return "the message is not shown because it is computed or long; give fail a short literal text"
}

// class maps a fixed piece of a text/template message to our words.
type class struct{ has, say string }

func classify(text string, classes []class) string {
	for _, c := range classes {
		if strings.Contains(text, c.has) {
			return c.say
		}
	}
	return "it does not fit the data"
}

func executionClasses() []class {
	return []class{
		{"map has no entry for key", "the data has no such key"},
		{"nil data; no entry for key", "the data has no such key"},
		{"nil pointer evaluating", "there is no value to take a field of"},
		{"can't evaluate field", "the value has no such field"},
		{"wrong number of args", "wrong number of arguments"},
		{"wrong type for value", "an argument has the wrong type"},
		{"for arg of type", "an argument has the wrong type"},
		{"invalid value; expected", "an argument is missing a value"},
		{"can't iterate over", "range needs a list, a map or a number"},
		{"iterate over more than one variable", "range over a number has one variable"},
		{"error calling index", "index: no such element, or not a list or map"},
		{"error calling", "a function or method failed"},
		{"not defined", "it calls a template that is not defined"},
		{"is not a method but has arguments", "arguments are given to a field"},
		{"can't give argument", "arguments are given to a value"},
		{"expected ", "a literal of the wrong type"},
	}
}

func parseClasses() []class {
	return []class{
		{"unexpected EOF", "an {{if}}, {{range}}, {{with}}, {{block}} or {{define}} has no {{end}}"},
		{"unclosed", "an action, comment or parenthesis is not closed"},
		{"unterminated", "a quoted text is not closed"},
		{"unexpected right paren", "a parenthesis is closed that was not opened"},
		{"unexpected {{end}}", "an {{end}} closes nothing"},
		{"unexpected {{else}}", "an {{else}} belongs to nothing"},
		{"missing value for", "an action or block has no value"},
		{"non executable command", "something that is not a function stands after a |"},
		{"multiple definition of template", "a template is defined twice"},
		{"outside {{range}}", "break and continue belong inside {{range}}"},
		{"integer overflow", "a number is too large"},
		{"expression depth", "parentheses are nested too deep"},
	}
}

// describeParse turns an error of the parser, which quotes the template, into one
// that can be shown: a template that comes from a Secret may be secret itself.
func describeParse(err error) error {
	text := err.Error()
	line := ""
	if at := regexp.MustCompile(`^template: -:(\d+):`).FindStringSubmatch(text); at != nil {
		line = "line " + at[1] + ": "
	}
	if name := regexp.MustCompile(`: function "(\w{1,64})" not defined$`).FindStringSubmatch(text); name != nil {
		return reason(line + "there is no function " + name[1])
	}
	if name := regexp.MustCompile(`: undefined variable "(\$\w{0,64})"$`).FindStringSubmatch(text); name != nil {
		return reason(line + "there is no variable " + name[1])
	}
	for _, c := range parseClasses() {
		if strings.Contains(text, c.has) {
			return reason(line + c.say)
		}
	}
	return reason(line + "not valid template syntax")
}

// expressionAt returns the pipeline at a position of the template, a line and the
// bytes before it on that line, without its literals.
func (p *program) expressionAt(line, column int) string {
	offset := column
	for rest := p.text; line > 1; line-- {
		i := strings.IndexByte(rest, '\n') + 1
		rest, offset = rest[i:], offset+i
	}
	s, at := "the template", parse.Pos(0)
	for _, tree := range p.trees {
		for _, n := range expressions(tree.Root, nil) {
			if int(n.Position()) > offset || n.Position() < at {
				continue
			}
			if text := expression(n); text != "" {
				s, at = text, n.Position()
			}
		}
	}
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// expressions returns the outermost pipelines and template calls below n.
func expressions(n parse.Node, found []parse.Node) []parse.Node {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return found
		}
		for _, e := range n.Nodes {
			found = expressions(e, found)
		}
	case *parse.ActionNode:
		return append(found, n.Pipe)
	case *parse.IfNode:
		return branchExpressions(&n.BranchNode, found)
	case *parse.WithNode:
		return branchExpressions(&n.BranchNode, found)
	case *parse.RangeNode:
		return branchExpressions(&n.BranchNode, found)
	case *parse.TemplateNode:
		return append(found, n)
	}
	return found
}

func branchExpressions(b *parse.BranchNode, found []parse.Node) []parse.Node {
	found = expressions(b.List, append(found, b.Pipe))
	return expressions(b.ElseList, found)
}

// expression writes a node with "…" for every literal.
func expression(n parse.Node) string {
	switch n := n.(type) {
	case *parse.PipeNode:
		return strings.Join(written(n.Cmds), " | ")
	case *parse.CommandNode:
		return strings.Join(written(n.Args), " ")
	case *parse.TemplateNode:
		if n.Pipe == nil {
			return "template …"
		}
		return "template … " + expression(n.Pipe)
	case *parse.ChainNode:
		return written([]parse.Node{n.Node})[0] + "." + strings.Join(n.Field, ".")
	case *parse.FieldNode, *parse.VariableNode, *parse.IdentifierNode, *parse.DotNode, *parse.NilNode, *parse.BoolNode:
		return n.String()
	}
	return "…"
}

// written writes each node, parenthesized where it is a pipeline, but for the
// calls that instrument added.
func written[N parse.Node](nodes []N) []string {
	out := make([]string, 0, len(nodes))
	for _, n := range nodes {
		switch s := expression(n); {
		case s == "" || s == fnPrint || s == fnTick || s == fnEnter || s == fnLeave:
		case n.Type() == parse.NodePipe:
			out = append(out, "("+s+")")
		default:
			out = append(out, s)
		}
	}
	return out
}
