package template

import (
	"reflect"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"
)

const (
	mainName   = "-"    // what text/template calls the template; it is never shown
	maxActions = 10_000 // bounds how deep the parser nests
	cacheBytes = 1 << 20
	cacheEntry = 64 << 10

	fnTick, fnEnter, fnLeave, fnPrint = "_tick", "_enter", "_leave", "_print"
)

// program is a parsed template. It is not changed after it is made.
type program struct {
	text    string
	trees   map[string]*parse.Tree
	used    map[string]function
	heavy   bool
	mutates bool
	fails   map[string]bool // literal messages of the function fail
}

// cache keeps programs by text. It drops any of them when it is full.
type cache struct {
	mu    sync.Mutex
	bytes int
	items map[string]*program
}

func (c *cache) get(text string) *program {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.items[text]
}

func (c *cache) put(p *program) {
	if len(p.text) > cacheEntry {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[string]*program{}
	}
	if _, ok := c.items[p.text]; ok {
		return
	}
	for text := range c.items {
		if c.bytes+len(p.text) <= cacheBytes && len(c.items) < 256 {
			break
		}
		delete(c.items, text)
		c.bytes -= len(text)
	}
	c.items[p.text] = p
	c.bytes += len(p.text)
}

func (e *Engine) program(text string) (*program, error) {
	if p := e.cache.get(text); p != nil {
		return p, nil
	}
	if len(text) > e.opts.MaxOutput {
		return nil, tooLarge("the text of the template", e.opts.MaxOutput)
	}
	if strings.Count(text, e.opts.Left) > maxActions {
		return nil, reason("more than 10000 actions: split the template")
	}
	known := map[string]any{}
	for name := range e.functions {
		known[name] = name
	}
	trees, err := parse.Parse(mainName, text, e.opts.Left, e.opts.Right, known)
	if err != nil {
		return nil, describeParse(err)
	}
	p := &program{text: text, trees: trees, used: map[string]function{}, fails: map[string]bool{}}
	for name, tree := range trees {
		in := instrument{functions: e.functions, program: p}
		in.list(tree.Root)
		if name != mainName {
			guardBody(tree.Root)
		}
	}
	e.cache.put(p)
	return p, nil
}

// guardBody counts how deep templates call each other.
func guardBody(body *parse.ListNode) {
	nodes := append([]parse.Node{callNode(body.Pos, fnEnter)}, body.Nodes...)
	body.Nodes = append(nodes, callNode(body.Pos, fnLeave))
}

func callNode(pos parse.Pos, name string) *parse.ActionNode {
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{commandNode(pos, name)}}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: pipe}
}

func commandNode(pos parse.Pos, name string) *parse.CommandNode {
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: []parse.Node{parse.NewIdentifier(name).SetPos(pos)}}
}

// instrument adds our own calls to a parsed template (a counter in each loop, a
// check of each value that is printed) and notes which functions it uses.
type instrument struct {
	functions map[string]function
	program   *program
}

func (in instrument) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		in.node(n)
	}
}

func (in instrument) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		in.pipe(n.Pipe)
		if len(n.Pipe.Decl) == 0 {
			n.Pipe.Cmds = append(n.Pipe.Cmds, commandNode(n.Pipe.Pos, fnPrint))
		}
	case *parse.IfNode:
		in.branch(&n.BranchNode)
	case *parse.WithNode:
		in.branch(&n.BranchNode)
	case *parse.RangeNode:
		in.branch(&n.BranchNode)
		n.List.Nodes = append([]parse.Node{callNode(n.Pipe.Pos, fnTick)}, n.List.Nodes...)
	case *parse.TemplateNode:
		in.pipe(n.Pipe)
	}
}

func (in instrument) branch(b *parse.BranchNode) {
	in.pipe(b.Pipe)
	in.list(b.List)
	in.list(b.ElseList)
}

func (in instrument) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for i, cmd := range p.Cmds {
		if id, ok := cmd.Args[0].(*parse.IdentifierNode); ok && id.Ident == "fail" {
			in.literalFail(p, i)
		}
		for _, arg := range cmd.Args {
			in.argument(arg)
		}
	}
}

func (in instrument) argument(n parse.Node) {
	switch n := n.(type) {
	case *parse.IdentifierNode:
		f, ok := in.functions[n.Ident]
		if !ok || f.fn == nil && f.make == nil {
			return
		}
		in.program.used[n.Ident] = f
		in.program.heavy = in.program.heavy || f.heavy > 0
		in.program.mutates = in.program.mutates || f.mutates
	case *parse.PipeNode:
		in.pipe(n)
	case *parse.ChainNode:
		in.argument(n.Node)
	}
}

// literalFail notes the message of {{ fail "text" }} and {{ "text" | fail }}: it
// stands in the template, so it may be shown.
func (in instrument) literalFail(p *parse.PipeNode, i int) {
	args := p.Cmds[i].Args[1:]
	if len(args) == 0 && i > 0 && len(p.Cmds[i-1].Args) == 1 {
		args = p.Cmds[i-1].Args
	}
	if len(args) == 1 {
		if s, ok := args[0].(*parse.StringNode); ok {
			in.program.fails[s.Text] = true
		}
	}
}

// execute runs the program. Its error is for describe alone: it may hold data.
func (p *program) execute(r *run, data map[string]any) (err error) {
	defer func() {
		if recover() != nil {
			err = reason("the template engine failed on it")
		}
	}()
	if p.mutates {
		copied, err := deepCopy(data)
		if err != nil {
			return err
		}
		if m, ok := copied.(map[string]any); ok {
			data = m
		}
	}
	r.root = reflect.ValueOf(data).Pointer()
	funcs := template.FuncMap{fnTick: r.tick, fnEnter: r.enter, fnLeave: r.leave, fnPrint: r.print}
	for name, f := range p.used {
		funcs[name] = f.bind(r, name)
	}
	t := template.New(mainName).Option("missingkey=error").Funcs(funcs)
	for name, tree := range p.trees {
		if _, err := t.AddParseTree(name, tree); err != nil {
			return err
		}
	}
	return t.Execute(r, data)
}
