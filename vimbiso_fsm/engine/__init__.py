"""The engine: it decides a turn. Pure: no store, no clock, no chance.

`decide.decide(bot, document, event, now)` is the one way in. The modules stand in this order, and each imports only
those above it:

    events          what a turn may answer, and the token of each event
    schedule        what becomes due at a member, and when to wake them
    question        a question as it is shown, and the choice that an answer means
    upgrade         runs of older versions, brought to today's flows
    reading         a stored document, read, upgraded and judged
    draft           the working copy of one document for one turn
    refusals        reasons said, counted, answered with help
    pending         calls proposed, taken up, given a token
    outbox          replies that answer no message, kept until they are delivered
    interpreter     steps on the machine: fire a trigger, run to completion, start and leave flows
    global_words    menu, cancel, back and help
    session         the life of a session
    salvage         a damaged document: what is kept of it, and where the member stood
    timers          a state's timeout
    calls           the answer of a call, and a call whose lease has expired
    interpret       a message in the member's current state
    commit          the decision of a turn, and the commit that stores it
    decide          the turn as a whole

Only `decide` calls what goes on after an event: the answer of a call, a timer and a session never reach back into
`interpret`.
"""
