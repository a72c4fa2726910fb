package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// Limits of one condition. Whatever a token claims, one that passes them is judged within a few milliseconds.
const (
	// MaxCondition bounds the text, in bytes.
	MaxCondition = 4096
	// maxNodes bounds the syntax tree, macros expanded, and so the memory of a compiled condition.
	maxNodes = 1024
	// maxNesting bounds brackets within brackets, and maxLoops macros within macros (all, exists, filter, map).
	maxNesting, maxLoops = 32, 2
	// maxCost bounds one evaluation, in CEL's cost units. It is the bound of the estimate when a condition is
	// compiled, which takes each claim to be of assumedSize, and again of what an evaluation really costs.
	maxCost = 25_000
	// assumedSize is how many elements or characters the estimate gives to a value that it cannot know.
	assumedSize = 32
	// interruptEvery is after how many turns of a loop the caller's context is looked at.
	interruptEvery = 64
)

// ruleEnv is what the condition of a rule may speak of. Each field is a variable of its own with a dotted name: a
// misspelt one does not compile, and reading one needs neither reflection nor a map.
var ruleEnv = sync.OnceValues(func() (*cel.Env, error) {
	claims := cel.MapType(cel.StringType, cel.DynType)
	return newEnv(
		cel.Variable("subject.iss", cel.StringType),
		cel.Variable("subject.sub", cel.StringType),
		cel.Variable("subject.claims", claims),
		cel.Variable("actor.client", cel.StringType),
		cel.Variable("actor.iss", cel.StringType),
		cel.Variable("actor.sub", cel.StringType),
		cel.Variable("actor.claims", claims),
		cel.Variable("client.id", cel.StringType),
		cel.Variable("tool", cel.StringType),
		cel.Variable("actions", cel.ListType(cel.StringType)),
		cel.Variable("run", cel.StringType),
		cel.Variable("depth", cel.IntType),
		cel.Variable("request.time", cel.TimestampType),
		cel.Variable("request.hour_utc", cel.IntType),
		cel.Variable("request.ip", cel.StringType),
	)
})

// claimsEnv is what the condition of a trusted issuer or of a client's identity may speak of.
var claimsEnv = sync.OnceValues(func() (*cel.Env, error) {
	return newEnv(cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)))
})

// newEnv returns CEL's standard library without regular expressions, whose anchoring is too easily got wrong in a
// decision about trust: equality, startsWith, endsWith and the subject globs of a rule say the same safely.
func newEnv(vars ...cel.EnvOption) (*cel.Env, error) {
	noRegexp := env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction(overloads.Matches))
	return cel.NewCustomEnv(append(vars,
		cel.StdLib(cel.StdLibSubset(noRegexp)),
		cel.ParserExpressionSizeLimit(MaxCondition),
		cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(maxLoops),
		),
	)...)
}

// compileCondition returns expr as a program of env, or every mistake in it.
func compileCondition(newEnv func() (*cel.Env, error), expr string) (*Condition, []string) {
	switch {
	case strings.TrimSpace(expr) == "":
		return nil, []string{"is empty; leave it out for no condition"}
	case len(expr) > MaxCondition:
		return nil, []string{fmt.Sprintf("has %d bytes; at most %d are allowed", len(expr), MaxCondition)}
	}
	e, err := newEnv()
	if err != nil {
		return nil, []string{err.Error()}
	}
	ast, issues := e.Compile(expr)
	if issues.Err() != nil {
		return nil, positions(e, issues)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, []string{fmt.Sprintf("yields %s; it must yield bool: compare it, such as claims.x == true", t)}
	}
	est, err := e.EstimateCost(ast, sizes{})
	switch {
	case err != nil:
		return nil, []string{err.Error()}
	case est.Max > maxCost:
		return nil, []string{fmt.Sprintf("costs up to %d units; at most %d are allowed: loop over less", est.Max, maxCost)}
	}
	prg, err := e.Program(ast,
		cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(interruptEvery))
	if err != nil {
		return nil, []string{err.Error()}
	}
	return &Condition{prg}, nil
}

// positions words CEL's issues, each with its place in the text where CEL knows it.
func positions(e *cel.Env, issues *cel.Issues) []string {
	var all []string
	for _, i := range issues.Errors() {
		text := i.Message
		if i.Location.Line() > 0 {
			text = fmt.Sprintf("line %d, column %d: %s", i.Location.Line(), i.Location.Column()+1, text)
		}
		if strings.HasPrefix(i.Message, "undeclared reference") && !strings.Contains(i.Message, "did you mean") {
			text += "; the variables are " + variables(e)
		}
		all = append(all, text)
	}
	return all
}

func variables(e *cel.Env) string {
	var names []string
	for _, v := range e.Variables() {
		names = append(names, v.Name())
	}
	return strings.Join(names, ", ")
}

// sizes gives assumedSize to every value whose size the text of a condition does not fix.
type sizes struct{}

func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.ComputedSize() != nil {
		return nil
	}
	one := cost.RangedSizeEstimate(0, assumedSize)
	return &one
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// Condition is a compiled CEL expression that yields a bool. It is immutable and safe for concurrent use; the zero
// Condition holds for nothing.
type Condition struct {
	program cel.Program
}

// NewCondition compiles the condition of a trusted issuer or of a client's identity, in which the one variable is
// claims, a map from string to anything. The error lists every mistake.
func NewCondition(expr string) (*Condition, error) {
	c, wrong := compileCondition(claimsEnv, expr)
	if wrong != nil {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return c, nil
}

// Allow reports whether the condition holds for claims, the decoded JSON of a verified token. A claim that is absent or
// of the wrong type, the cost limit and a ctx that is done make it false.
func (c *Condition) Allow(ctx context.Context, claims map[string]any) bool {
	return c.holds(ctx, claimsOnly{claims})
}

// holds is the one place where a condition is judged: only the value true, without an error, is true.
func (c *Condition) holds(ctx context.Context, vars cel.Activation) bool {
	if c == nil || c.program == nil || ctx.Err() != nil {
		return false
	}
	v, _, err := c.program.ContextEval(ctx, vars)
	return err == nil && v == types.True
}

// claimsOnly resolves the variable of claimsEnv.
type claimsOnly struct{ claims map[string]any }

func (c claimsOnly) ResolveName(name string) (any, bool) { return c.claims, name == "claims" }
func (claimsOnly) Parent() cel.Activation                { return nil }

// facts resolves the variables of ruleEnv. What a request does not have is absent, so that a condition on it fails and
// the rule does not apply.
type facts struct {
	*Request
	actions []string // those asked for, or the defaults that stand in for them
}

func (f *facts) ResolveName(name string) (any, bool) {
	switch name {
	case "subject.iss":
		return text(f.Subject.Issuer)
	case "subject.sub":
		return text(f.Subject.Subject)
	case "subject.claims":
		return f.Subject.Claims, true
	case "actor.client", "client.id":
		return text(f.Client)
	case "actor.iss":
		return text(f.Actor.Issuer)
	case "actor.sub":
		return text(f.Actor.Subject)
	case "actor.claims":
		return f.Actor.Claims, true
	case "tool":
		return text(f.Tool)
	case "actions":
		return f.actions, true
	case "run":
		return text(f.Run)
	case "depth":
		return types.Int(f.Depth), true
	case "request.time":
		return types.Timestamp{Time: f.Time.UTC()}, !f.Time.IsZero()
	case "request.hour_utc":
		return types.Int(f.Time.UTC().Hour()), !f.Time.IsZero()
	case "request.ip":
		return types.String(f.IP.Unmap().String()), f.IP.IsValid()
	}
	return nil, false
}

func (*facts) Parent() cel.Activation { return nil }

func text(s string) (any, bool) { return types.String(s), s != "" }
