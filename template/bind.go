package template

import (
	"errors"
	"reflect"
)

// function is one entry of the allow-list.
type function struct {
	// fn is what runs; nil for the operators of text/template itself.
	fn any
	// make returns what runs, for functions that need to know their execution.
	make func(*run) any
	// why is what an error of fn says: its own text could quote data.
	why string
	// check refuses arguments that would cost too much.
	check func(*run, []any) error
	// shallow: fn does not look inside the elements of its arguments.
	shallow bool
	// refers: fn is shallow, and its result is an argument or in one.
	refers bool
	// maxArgs bounds all arguments together, in bytes; 0 is the limit of a value.
	maxArgs int
	// heavy is the price of a call in units of a password hash, some 60 ms.
	heavy int
	// mutates: fn changes its first argument.
	mutates bool
}

// bind returns fn with its bounds, as a function of the same parameters whose
// errors are faults: our own words. A panic is an error.
func (f function) bind(r *run, name string) any {
	fn := f.fn
	if f.make != nil {
		fn = f.make(r)
	}
	target, typeOfError := reflect.ValueOf(fn), reflect.TypeFor[error]()
	t, noError := target.Type(), reflect.Zero(typeOfError)
	in := make([]reflect.Type, 0, t.NumIn())
	for p := range t.Ins() {
		in = append(in, p)
	}
	wrapped := reflect.FuncOf(in, []reflect.Type{t.Out(0), typeOfError}, t.IsVariadic())
	return reflect.MakeFunc(wrapped, func(args []reflect.Value) []reflect.Value {
		out, err := f.call(r, target, args)
		if err != nil {
			return []reflect.Value{reflect.Zero(t.Out(0)), reflect.ValueOf(f.fault(name, err)).Convert(typeOfError)}
		}
		return []reflect.Value{out, noError}
	}).Interface()
}

func (f function) fault(name string, err error) *fault {
	if why, ok := errors.AsType[reason](err); ok {
		return &fault{function: name, why: string(why)}
	}
	if message, ok := errors.AsType[failMessage](err); ok {
		return &fault{function: name, message: string(message), failed: true}
	}
	return &fault{function: name, why: f.why}
}

func (f function) call(r *run, target reflect.Value, args []reflect.Value) (out reflect.Value, err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	if err := f.admit(r, flatten(target.Type(), args)); err != nil {
		return reflect.Value{}, err
	}
	var results []reflect.Value
	if target.Type().IsVariadic() {
		results = target.CallSlice(args)
	} else {
		results = target.Call(args)
	}
	if len(results) == 2 && !results[1].IsNil() {
		failed, _ := reflect.TypeAssert[error](results[1])
		return reflect.Value{}, failed
	}
	if f.refers {
		return results[0], nil
	}
	return results[0], r.charge(shallow(results[0].Interface()))
}

// admit lets a call through whose arguments and price are within bounds.
func (f function) admit(r *run, args []any) error {
	if r.ctx.Err() != nil {
		return errStopped
	}
	r.heavy += f.heavy
	if r.heavy > maxHeavyUnits {
		return reason("too many password hashes and keys in one template")
	}
	size, err := f.size(r, args)
	if err != nil {
		return err
	}
	if f.maxArgs > 0 && size > f.maxArgs {
		return tooLarge("the input", f.maxArgs)
	}
	if err := r.charge(size); err != nil {
		return err
	}
	if f.check != nil {
		return f.check(r, args)
	}
	return nil
}

func (f function) size(r *run, args []any) (int, error) {
	if f.shallow || f.refers {
		return 16 * len(args), nil
	}
	total := 0
	for _, a := range args {
		n, err := r.measure(a)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func flatten(t reflect.Type, args []reflect.Value) []any {
	out := make([]any, 0, len(args))
	for i, a := range args {
		if !t.IsVariadic() || i < len(args)-1 {
			out = append(out, a.Interface())
			continue
		}
		for j := range a.Len() {
			out = append(out, a.Index(j).Interface())
		}
	}
	return out
}
