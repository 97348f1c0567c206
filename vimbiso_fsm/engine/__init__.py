"""The engine decides a turn. It is pure: no store, no clock, no chance.

`decide.decide(bot, document, event, now)` is the entry point. Each module imports only from those above it in this
list, which import-linter checks:

    events          the events that a turn is decided on, and the token of each
    stranger        guests of whom nothing would be lost
    schedule        the events that become due without a message, and the next wake-up
    question        a question with its visible buttons, rows and pages
    upgrade         upgrade of stored runs to the current flows
    reading         reading of a stored document
    draft           the working copy of one document for one turn
    windows         the window of a channel, and late replies: as a template, held, or not said any more
    meaning         the choices that a typed text can mean
    refusals        reasons: said, counted, and answered with help
    pending         calls: proposed, taken up again, given a new login token
    kept_answer     the answer of a call on which the flow could not go on
    outbox          replies that answer no message
    reminders       reminders: set, replaced, cancelled and given
    passing         what passes to the inbox of a person, and the beginning of a hand-over
    interpreter     steps on the machine: fire a trigger, run to completion, start and leave flows
    handover        the hand-over of a conversation to a person, and its end
    consent         the addresses at which a member wants no messages
    global_words    menu, cancel, back and help
    session         the life of a session
    timers          the timeout of a state
    ahead           documents that were stored while the clock was ahead
    salvage         the valid part of a damaged document, and the state in which the member stood
    calls           the outcome of a call
    interpret       a message in the member's current state
    told            a fact that the channel tells
    given           what another system gives: words, a flow, a trigger
    room            the room that a turn may fill in a document
    commit          the decision of a turn, and the commit that stores it
    close           the end of a turn: its draft as a decision
    decide          the turn as a whole

Only `decide` and `interpret` handle a whole event. The modules of calls, timers and sessions never reach back into
`interpret`.
"""
