-- For scripts by which a photo leaves its listing. When its seller showed its hashes first is kept, for when the seller
-- shows them again; not of a blocked copy, nor of one that the listing never really had. ARGV: for how many sellers of
-- a hash, the earliest, and for how many seconds.
local kept_sellers, kept_seconds = tonumber(ARGV[2]), ARGV[3]
local function depart(name)
    local photo = redis.call('HMGET', prefix .. 'photo:' .. name,
        'hash', 'trimmed', 'seller', 'uploaded', 'shown', 'blocked', 'waiting')
    drop(name)
    if not photo[1] or photo[6] == '1' or photo[7] == '1' then return end
    for _, hash in ipairs(hashes_of(photo[1], photo[2])) do
        local first = prefix .. 'first:' .. hash
        redis.call('ZADD', first, 'LT', photo[5] or photo[4], photo[3])
        redis.call('ZREMRANGEBYRANK', first, kept_sellers, -1)
        redis.call('EXPIRE', first, kept_seconds)
    end
end
