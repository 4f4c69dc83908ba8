"""Virtual cores: strict scheduling, where only those threads run that seL4's scheduler would choose.

`scheduler.py` says who may run at all; `schedule.py` here says who of them does. RAM says whether a machine has virtual
cores (`KernelRecord.cores`), and with 0 of them nothing here is called: the host shares out the processors.

    record.py        a virtual core: whom it runs          ready.py       the queues of those that wait for their turn
    schedule.py      who runs, after each transaction      domains.py     whose domain's turn it is
    entering.py      a thread enters the kernel            slices.py      round robin: whose slice is over
    virtual_time.py  time that goes by defined steps       yielding.py    YieldTo
    trace.py         what happened, for people and tests   invariants.py  what is true between two transactions

What it rests on: a thread runs between the completion of one system call and its next. The completion of a thread that
is not chosen is held, a process that is not chosen is not started, and one that runs and must not any more is stopped.
"""
