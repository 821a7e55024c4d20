"""The rules of a kind of account: what it may lose in a day and in all, and how much it may hold.

``limits`` are the numbers, ``record`` what is remembered, ``bookkeeping`` follows the money,
``standing`` says where the account stands, ``watch`` acts when a limit is reached, and ``denials``
refuses what could reach one.
"""
